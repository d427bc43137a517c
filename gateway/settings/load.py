"""Settings from their sources: the command line above the environment, above the file, above the defaults.

The only place that reads a settings file or ``SLUICE_…`` variables.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.core.errors import InvalidArgument
from gateway.settings.auth import problems
from gateway.settings.expect import expected
from gateway.settings.leaf import Leaf, leaves, sections
from gateway.settings.location import fault
from gateway.settings.schema import BYTES, Settings

#: read when no file is named, if it is there
DEFAULT_FILE: Final = "sluice.yaml"

#: variables that are of the command line and of clients, not of the server
OTHER_VARIABLES: Final = frozenset(
    {
        "SLUICE_CONFIG",
        "SLUICE_DEBUG",
        "SLUICE_URL",
        "SLUICE_API_KEY",
        "SLUICE_ADMIN_URL",
        "SLUICE_CA_FILE",
        "SLUICE_CRASH_AT",
    }
)

# What Kubernetes sets in every pod for a service "sluice" or "sluice-…"; SLUICE_ADMIN_PORT may be one.
_SERVICE_LINK: Final = re.compile(r"SLUICE_(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)")
_SERVICE_LINK_VALUE: Final = re.compile(r"(tcp|udp|sctp)://")

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?", re.IGNORECASE)
_BOOLEANS: Final = {"true": True, "yes": True, "on": True, "1": True} | dict.fromkeys(
    ("false", "no", "off", "0"), False
)
_POWER: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class SettingsError(InvalidArgument):
    """A setting is unknown or wrong. The message names its source and key, what was found and expected."""


def load(
    file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Builds the settings.

    file       a YAML file; None: `sluice.yaml` in the working directory, if there is one
    environ    only its ``SLUICE_…`` entries are looked at, and of those what is not empty; None: none
    overrides  the command line's: dotted key → value or its text; None values are skipped

    Raises SettingsError.
    """
    known = leaves()
    values: dict[str, Any] = {key: leaf.default for key, leaf in known.items()}
    if file is None and Path(DEFAULT_FILE).is_file():
        file = DEFAULT_FILE
    if file is not None:
        for key, value in _flat(read_yaml(Path(file)), str(file), known):
            if key == "streams" and isinstance(value, dict):
                # they are read by themselves, where they are: an error in one of them has a line
                value = [f"{file}#{name}" for name in value]
            values[key] = _value(known[key], value, f"{file}: {key}")
    for variable, text in (environ or {}).items():
        if text and (leaf := _of_variable(variable, text, known)):
            values[leaf.key] = _value(leaf, _parsed(leaf, text, variable), variable)
    for key, value in (overrides or {}).items():
        if value is not None:
            if key not in known:
                raise SettingsError(f"command line: unknown setting '{key}'{_nearest(key, known)}")
            value = _parsed(known[key], value, key) if isinstance(value, str) else value
            values[key] = _value(known[key], value, f"command line: {key}")
    return check(_built(values))


def check(settings: Settings) -> Settings:
    """The rules that join several settings. Returns the same settings."""
    tls = settings.tls
    if bool(tls.cert) != bool(tls.key):
        given, missing = ("tls.cert", "tls.key") if tls.cert else ("tls.key", "tls.cert")
        raise SettingsError(f"{missing}: expected a file, because {given} is set; found none")
    if tls.client_auth != "none" and not (tls.cert and tls.client_ca):
        missing = "tls.client_ca" if tls.cert else "tls.cert"
        raise SettingsError(f"{missing}: expected a file, because tls.client_auth is '{tls.client_auth}'; found none")
    if tls.admin and not tls.cert:
        raise SettingsError("tls.cert: expected a file, because tls.admin is true; found none")
    if settings.http_port == settings.admin_port != 0:
        raise SettingsError(f"admin_port: expected a port other than http_port, found {settings.admin_port} twice")
    for other in ("http_port", "admin_port"):
        if settings.grpc_port == getattr(settings, other) != 0:
            raise SettingsError(f"grpc_port: expected a port other than {other}, found {settings.grpc_port} twice")
    if settings.admin_token and settings.admin_token_file:
        raise SettingsError("admin_token_file: expected nothing, because admin_token is set as well")
    if settings.store and settings.store_file:
        raise SettingsError("store_file: expected nothing, because store is set as well")
    if settings.store and (wrong := fault(settings.store)):
        raise SettingsError(f"store: {wrong}")
    for problem in problems(settings.auth, tls.client_auth):
        raise SettingsError(problem)
    if settings.load and settings.control_mode != "explicit":
        raise SettingsError(
            f"load: expected nothing unless control_mode is 'explicit', found {list(settings.load)}"
            f" with control_mode '{settings.control_mode}'"
        )
    return settings


def check_files(settings: Settings) -> None:
    """What serving needs of the disk, checked before anything starts. Raises SettingsError."""
    if not Path(settings.models).is_dir():
        raise SettingsError(f"models: expected a folder, found no folder at '{settings.models}'")
    files = {f"tls.{name}": getattr(settings.tls, name) for name in ("cert", "key", "client_ca")}
    files |= {"admin_token_file": settings.admin_token_file, "store_file": settings.store_file}
    files |= {f"auth.jwt.{name}": getattr(settings.auth.jwt, name) for name in ("jwks_file", "ca_file")}
    for key, path in files.items():
        if path and not Path(path).is_file():
            raise SettingsError(f"{key}: expected a file, found no file at '{path}'")


def read_yaml(path: Path) -> Mapping[str, Any]:
    """One mapping. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(f"settings file '{path}': {reason}") from error
    document = _yaml(text, str(path))
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: expected 'key: value' lines, found {_found(document)}")
    return document


def _flat(
    document: Mapping[str, Any], file: str, known: Mapping[str, Leaf], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """The document's settings by dotted key."""
    inner = sections()
    for name, value in document.items():
        key = f"{prefix}{name}"
        if key in known:
            yield key, value
        elif key not in inner or (not prefix and "." in key):
            raise SettingsError(
                f"{file}: unknown setting '{key}'{_nearest(key, known if prefix else [*known, *inner])}"
            )
        elif value is not None:
            if not isinstance(value, dict):
                raise SettingsError(f"{file}: {key}: expected a section of settings, found {_found(value)}")
            yield from _flat(value, file, known, key + ".")


def _of_variable(variable: str, text: str, known: Mapping[str, Leaf]) -> Leaf | None:
    if not variable.startswith("SLUICE_") or variable in OTHER_VARIABLES:
        return None
    by_variable = {leaf.variable: leaf for leaf in known.values()}
    if _SERVICE_LINK.fullmatch(variable) and (variable not in by_variable or _SERVICE_LINK_VALUE.match(text)):
        return None
    if variable not in by_variable:
        names = [*by_variable, *OTHER_VARIABLES]
        raise SettingsError(f"environment: unknown variable '{variable}'{_nearest(variable, names)}")
    return by_variable[variable]


def _parsed(leaf: Leaf, text: str, where: str) -> Any:
    """A setting's text, from a place where all is text: lists by commas, mappings as YAML or JSON."""
    if isinstance(leaf.default, tuple) and not text.lstrip().startswith(("[", "-")):
        return [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(leaf.default, dict | tuple):
        return _yaml(text, where)
    if isinstance(leaf.default, str) and leaf.key != "threads":
        return text
    if isinstance(leaf.default, bool):
        return _BOOLEANS.get(text.strip().lower(), text)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _value(leaf: Leaf, value: Any, where: str) -> Any:
    if leaf.unit == BYTES and isinstance(value, str):
        value = size(value)
    if leaf.key == "labels" and isinstance(value, dict):  # a YAML file writes a version as a bare number
        value = {model: _texts(labels) for model, labels in value.items()}
    try:
        if isinstance(value, float) and not math.isfinite(value):
            raise msgspec.ValidationError("not finite")
        return msgspec.convert(value, leaf.type)
    except msgspec.ValidationError as error:
        detail = str(error).partition(" - at `$")[2].rstrip("`")
        found = _found(value) if leaf.key != "admin_token" else f"a {type(value).__name__}"
        at = f" (at {detail.lstrip('.')}: {str(error).partition(' - at ')[0]})" if detail else ""
        raise SettingsError(f"{where}: expected {expected(leaf)}, found {found}{at}") from error


def _texts(labels: Any) -> Any:
    if not isinstance(labels, dict):
        return labels
    return {k: str(v) if isinstance(v, int) and not isinstance(v, bool) else v for k, v in labels.items()}


def size(text: str) -> Any:
    """``64MiB`` or ``64 MB`` → bytes, the latter by powers of 1000; what is no size stays as it is."""
    if not (match := _SIZE.fullmatch(text.strip())):
        return text
    unit = (match[2] or "").lower()
    return int(float(match[1]) * (1024 if unit.endswith("i") else 1000) ** _POWER[unit.rstrip("i")])


def _built(values: Mapping[str, Any]) -> Settings:
    """Inner sections are built before those that hold them."""
    by_section: dict[str, dict[str, Any]] = {name: {} for name in ("", *sections())}
    for key, value in values.items():
        section, _, field = key.rpartition(".")
        by_section[section][field] = value
    for name, kind in reversed([*sections().items()]):
        outer, _, field = name.rpartition(".")
        by_section[outer][field] = kind(**by_section[name])
    return Settings(**by_section[""])


def _yaml(text: str, where: str) -> Any:
    # Not at the top: a gateway without a settings file starts without the parser.
    import yaml

    from gateway.settings.document import Loader

    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise SettingsError(f"{where}: not YAML: {' '.join(str(error).split())}") from error


def _nearest(name: str, names: Any) -> str:
    """A hint: the known name that looks most like it, or that has the same last part."""
    name = str(name)
    close = get_close_matches(name, names, 1, 0.6) or [
        known for known in names if known.rpartition(".")[2] == name.rpartition(".")[2]
    ]
    return f", did you mean '{close[0]}'?" if close else "; docs/settings.md lists them all"


def _found(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
