"""In words: what a field of a stream may be, by its type."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta

#: `extra={"unit": BYTES}` in a Meta: a size that may be written as 64KiB
BYTES = "bytes"

_PLAIN = {int: "an integer", float: "a number", bool: "true or false", str: "a text", type(None): "nothing"}


def metas(hint: Any) -> list[Meta]:
    return [meta for meta in get_args(hint)[1:] if isinstance(meta, Meta)] if get_origin(hint) is Annotated else []


def bare(hint: Any) -> Any:
    """Without its Meta."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def choices(hint: Any) -> tuple[Any, ...]:
    """The types of a union; of another type, itself."""
    inner = bare(hint)
    return get_args(inner) if is_union(inner) else (hint,)


def is_union(hint: Any) -> bool:
    return get_origin(hint) is Union or type(hint).__name__ == "UnionType"


def is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def is_size(hint: Any) -> bool:
    return any((meta.extra or {}).get("unit") == BYTES for meta in metas(hint))


def expected(hint: Any) -> str:
    """As in "an integer from 0 to 65535"."""
    words = "a size in bytes, as in 65536 or 64KiB," if is_size(hint) else _kind(bare(hint))
    low = next((meta.ge for meta in metas(hint) if meta.ge is not None), None)
    above = next((meta.gt for meta in metas(hint) if meta.gt is not None), None)
    high = next((meta.le for meta in metas(hint) if meta.le is not None), None)
    if low is not None and high is not None:
        words += f" from {low} to {high}"
    elif low is not None:
        words += f" of at least {low}"
    elif above is not None:
        words += f" above {above}" + (f" and at most {high}" if high is not None else "")
    elif high is not None:
        words += f" of at most {high}"
    least = next((meta.min_length for meta in metas(hint) if meta.min_length), 0)
    if least:
        words += " that is not empty" if least == 1 else f" with at least {least} of them"
    pattern = next((meta.pattern for meta in metas(hint) if meta.pattern), "")
    return f"{words} like {pattern}" if pattern else words


def _kind(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(f"'{choice}'" for choice in get_args(hint))
    if is_union(hint):
        return " or ".join(expected(part) for part in get_args(hint))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "one of " + ", ".join(f"'{choice.value}'" for choice in hint)
    if is_struct(hint):
        return "a section of settings"
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, dict):
        return "a mapping"
    if isinstance(kind, type) and issubclass(kind, (list, tuple, set, frozenset)):
        return "a list"
    return _PLAIN.get(kind, f"a {getattr(kind, '__name__', 'value')}")
