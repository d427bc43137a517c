"""`<models>/<name>/model.yaml`: what Sluice adds to a model. It goes before config.pbtxt.

    labels: {stable: 1, canary: 2}
    version_policy: {latest: 2}          # or {specific: [1, 3]}, or all
    run_limit: 0.5                       # seconds after which a run is terminated
    instances: 2
    queue: {max_requests: 100, timeout: 1.0, allow_timeout_override: true}
    batching: {enabled: true, max_delay: 0.002, max_batch_size: 32}
    threads: {intra_op: 2, inter_op: 1}

Every key may be left out. Times are in seconds. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from gateway.core.errors import InvalidArgument
from gateway.models.config.file import read
from gateway.models.config.model import ModelConfig, VersionPolicy
from gateway.models.names import check_label, check_version

YAML_FILE: Final = "model.yaml"
MAX_YAML_BYTES: Final = 1 << 20

_Reader = Callable[[str, Any], Any]


def apply_yaml(folder: Path, config: ModelConfig) -> ModelConfig:
    """The config with what the folder's model.yaml says, if there is one.

    Raises InvalidArgument that names the file and the key.
    """
    found = read(folder, YAML_FILE, MAX_YAML_BYTES)
    if found is None:
        return config
    source = f"{folder.name}/{YAML_FILE}"
    try:
        return _merge(config, _parse(found))
    except InvalidArgument as error:
        raise InvalidArgument(f"{source}: {error.message}") from error.__cause__


def _parse(content: bytes) -> Any:
    import yaml

    try:
        node = yaml.compose(content, yaml.SafeLoader)
        _refuse_repeated(node)
        return yaml.safe_load(content)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidArgument(f"{where}{error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"not YAML: {str(error).partition(chr(10))[0]}") from error


def _refuse_repeated(node: Any) -> None:
    """PyYAML lets the last of several equal keys win."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                mark = key.start_mark
                raise InvalidArgument(f"line {mark.line + 1}, column {mark.column + 1}: '{key.value}' is repeated")
            seen.add(key.value)
        for _, value in node.value:
            if isinstance(value, yaml.MappingNode):
                _refuse_repeated(value)


def _merge(config: ModelConfig, document: Any) -> ModelConfig:
    found = _section("", {} if document is None else document, _KEYS)
    queue = replace(config.queue, **found.pop("queue", {}))
    threading = replace(config.threading, **found.pop("threads", {}))
    batching = found.pop("batching", {})
    if "enabled" in batching:
        batching["batching"] = batching.pop("enabled")
    size = batching.get("max_batch_size")
    if size is not None:
        kept = tuple(n for n in config.preferred_batch_sizes if n <= size)
        batching["preferred_batch_sizes"] = kept
    if "version_policy" in found:
        found["policy"] = found.pop("version_policy")
    return replace(config, queue=queue, threading=threading, **batching, **found)


def _section(where: str, value: Any, keys: Mapping[str, _Reader]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"'{where}' is {_shown(value)}, expected keys out of {', '.join(keys)}")
    found = {}
    for key, inner in value.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in keys:
            near = get_close_matches(str(key), keys, 1, 0.4)
            hint = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(keys)}"
            raise InvalidArgument(f"unknown key '{path}': {hint}")
        found[key] = keys[key](path, inner)
    return found


def _sub(keys: Mapping[str, _Reader]) -> _Reader:
    return lambda where, value: _section(where, value, keys)


def _whole(least: int) -> _Reader:
    def read(where: str, value: Any) -> int:
        if type(value) is not int or not least <= value <= 1 << 31:
            raise InvalidArgument(f"'{where}' is {_shown(value)}, expected a whole number of at least {least}")
        return value

    return read


def _seconds(where: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise InvalidArgument(f"'{where}' is {_shown(value)}, expected seconds, a number of at least 0")
    return float(value)


def _flag(where: str, value: Any) -> bool:
    if type(value) is not bool:
        raise InvalidArgument(f"'{where}' is {_shown(value)}, expected true or false")
    return value


def _labels(where: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"'{where}' is {_shown(value)}, expected names with a version each")
    labels = {}
    for name, version in value.items():
        if isinstance(name, bool):
            raise InvalidArgument(f"label {name} is YAML for true or false, expected a name: put it in quotes")
        labels[check_label(str(name))] = check_version(f"'{where}.{name}'", str(version))
    return labels


def _policy(where: str, value: Any) -> VersionPolicy:
    if value == "all":
        return VersionPolicy()
    if value == "latest":
        return VersionPolicy(latest=1)
    if isinstance(value, Mapping) and len(value) == 1:
        found = _section(where, value, {"latest": _whole(1), "specific": _versions})
        return VersionPolicy(**found)
    raise InvalidArgument(
        f"'{where}' is {_shown(value)}, expected 'all', {{latest: NUMBER}} or {{specific: [VERSIONS]}}"
    )


def _versions(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise InvalidArgument(f"'{where}' is {_shown(value)}, expected a list of versions")
    versions = {check_version(f"'{where}'", str(version)) for version in value}
    return tuple(sorted(versions, key=int))


def _shown(value: Any) -> str:
    return repr(value)[:80]


_KEYS: Final[Mapping[str, _Reader]] = {
    "labels": _labels,
    "version_policy": _policy,
    "run_limit": _seconds,
    "instances": _whole(1),
    "queue": _sub({"max_requests": _whole(0), "timeout": _seconds, "allow_timeout_override": _flag}),
    "batching": _sub({"enabled": _flag, "max_delay": _seconds, "max_batch_size": _whole(0)}),
    "threads": _sub({"intra_op": _whole(0), "inter_op": _whole(0)}),
}
