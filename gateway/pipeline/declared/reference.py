"""docs/stream-settings.md, made from the Structs: ``python -m gateway.pipeline.declared.reference``."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterator
from typing import Any, Final, get_type_hints

import msgspec

from gateway.pipeline.declared import connectors
from gateway.pipeline.declared.formats import DECODE, ENCODE
from gateway.pipeline.declared.spec import Model
from gateway.pipeline.declared.words import bare, choices, expected, is_size, is_struct, metas
from gateway.pipeline.policy import Policy

_HEAD: Final = """\
# Settings of streams

<!-- Made from the Structs by `python -m gateway.pipeline.declared.reference`; a test compares. -->

What may stand in a stream's file; [streams](streams.md) says what it is for. Fields in bold have to be there. Times are
in seconds, sizes in bytes (`64KiB`, `8MiB` may be written). `${NAME}` is a variable of the environment, `${NAME:-text}`
the text where there is none, `$${` the characters themselves. Paths are relative to the working folder, those of
`decode` and `encode` to the stream's file.
"""
_KIB: Final = 1024


def reference() -> str:
    """The whole page."""
    parts = [_HEAD, "## The stream", "", *_table(Policy, ""), "", "### `model`", "", *_table(Model, ""), ""]
    for title, formats in (("decode", DECODE), ("encode", ENCODE)):
        for name, kind in formats.items():
            if name != "jsonl":
                parts += [f"## `{title}: {{format: {name}}}`", "", *_section(kind)]
    for name in connectors.ours():
        found = connectors.adapter(name)
        parts += [f"## Adapter `{name}`", "", f"{found.summary[0].upper()}{found.summary[1:].rstrip('.')}.", ""]
        for side, door in (("input", found.input), ("output", found.output)):
            if door is not None:
                parts += [f"### `{side}: {{{name}: …}}`", "", *_section(door.settings)]
    return "\n".join(parts).rstrip() + "\n"


def _section(kind: type[msgspec.Struct]) -> list[str]:
    about = inspect.cleandoc(kind.__doc__ or "")
    rows = _table(kind, "")
    return [*([about, ""] if about else []), *(rows or ["It has none."]), ""]


def _table(kind: type[msgspec.Struct], prefix: str) -> list[str]:
    rows = list(_rows(kind, prefix))
    return ["| field | default | expected | meaning |", "|---|---|---|---|", *rows] if rows else []


def _rows(kind: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        hint = hints[field.name]
        name = prefix + field.encode_name
        inner = next((bare(choice) for choice in choices(hint) if is_struct(bare(choice))), None)
        about = next((meta.description for meta in metas(hint) if meta.description), "")
        if inner is not None:
            if about:
                yield f"| {_name(name, field)} | {_default(field, hint)} | a section | {_cell(about)} |"
            yield from _rows(inner, f"{name}.")
        else:
            words = _cell(expected(hint).rstrip(","))
            yield f"| {_name(name, field)} | {_default(field, hint)} | {words} | {_cell(about)} |"


def _name(name: str, field: msgspec.structs.FieldInfo) -> str:
    return f"**`{name}`**" if field.required else f"`{name}`"


def _default(field: msgspec.structs.FieldInfo, hint: Any) -> str:
    value = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else None
    if isinstance(value, msgspec.Struct) or value in (None, "", (), [], {}, frozenset()):
        return ""
    if is_size(hint) and value % _KIB == 0:
        return f"`{value // _KIB**2}MiB`" if value % _KIB**2 == 0 else f"`{value // _KIB}KiB`"
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, (tuple, list)):
        value = ", ".join(map(str, value))
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
