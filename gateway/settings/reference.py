"""docs/settings.md, made from the schema: ``python -m gateway.settings.reference > docs/settings.md``."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from gateway.settings.expect import expected
from gateway.settings.leaf import Leaf, leaves, sections
from gateway.settings.schema import BYTES, KIB, MIB

_HEAD = """\
# Settings

<!-- Made from gateway/settings/schema.py by `python -m gateway.settings.reference`; a test compares. -->

One YAML file: `sluice serve --config FILE`, or `SLUICE_CONFIG`, or `sluice.yaml` in the working folder.
Every key is also a variable: `SLUICE_` and the key in capitals, with `_` for the dot; lists are written with
commas, mappings as YAML or JSON; an empty variable counts as none. On the command line every key can be set
as `--set limits.json_body=16MiB`, and the commonest have an option of their own (`sluice serve --help`).

The command line is above the environment, the environment above the file, the file above the defaults. A key
that is not in this list is an error, which names the nearest known one; so is a value of the wrong kind. Both
end `sluice` with exit code 2. Variables that Kubernetes sets for a service named `sluice`
(`SLUICE_SERVICE_HOST`, `SLUICE_PORT`, `SLUICE_ADMIN_PORT=tcp://…`) are left alone.

Times are in seconds. Sizes are in bytes; `64KiB`, `8MiB`, `1GiB` may be written. Paths are relative to the
working folder.

```yaml
models: /srv/models
control_mode: poll
splits:
  fraud: {weights: {1: 90, 2: 10}}
labels:
  fraud: {stable: 1, canary: 2}
limits:
  binary_body: 128MiB
```
"""

_CLIENT = """\
## Variables of the command line

| variable | meaning |
|---|---|
| `SLUICE_CONFIG` | The settings file, as `--config`. |
| `SLUICE_ADMIN_URL` | Where the admin port is, as `--admin-url`; else it is taken from the settings. |
| `SLUICE_ADMIN_TOKEN` | The token, as `--token`; else it is taken from the settings and the state folder. |
| `SLUICE_URL` | Where the REST port is, as `sluice infer --url`. |
| `SLUICE_API_KEY` | The key that is presented there, as `sluice infer --api-key`. |
| `SLUICE_CA_FILE` | PEM file: who signed the server's certificate, as `--ca-file`. |
| `SLUICE_CRASH_AT` | For tests of what survives: where in a batch a process of streams kills itself, or stands still. |
| `SLUICE_DEBUG` | `1`: errors come with their traceback, as `--debug`. |
"""


def reference() -> str:
    """The whole page."""
    known = list(leaves().values())
    parts = [_HEAD, _table("## General", "", (leaf for leaf in known if "." not in leaf.key))]
    for name, section in sections().items():
        own = (leaf for leaf in known if leaf.key.rpartition(".")[0] == name)
        parts.append(_table(f"## `{name}`", inspect.cleandoc(section.__doc__ or ""), own))
    return "\n".join([*parts, _CLIENT])


def _table(title: str, about: str, rows: Iterable[Leaf]) -> str:
    lines = [title, "", *([about, ""] if about else []), "| key, variable | default | expected | meaning |"]
    lines.append("|---|---|---|---|")
    lines += [
        f"| `{leaf.key}`<br>`{leaf.variable}` | {_default(leaf)} | {expected(leaf).rstrip(',')} | {leaf.description} |"
        for leaf in rows
    ]
    return "\n".join(lines) + "\n"


def _default(leaf: Leaf) -> str:
    value: Any = leaf.default
    if isinstance(value, tuple):
        value = ", ".join(value)
    if value in ("", {}):
        return "none"
    if leaf.unit == BYTES:
        unit, name = (MIB, "MiB") if value % MIB == 0 else (KIB, "KiB")
        return f"`{value // unit}{name}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    print(reference(), end="")
