"""In words: what a setting may be."""

from __future__ import annotations

from typing import Any, Literal, Union, get_args, get_origin

from msgspec import Meta, Struct

from gateway.settings.leaf import Leaf
from gateway.settings.schema import BYTES


def expected(leaf: Leaf) -> str:
    """As in "an integer from 0 to 65535"."""
    metas = [meta for meta in getattr(leaf.type, "__metadata__", ()) if isinstance(meta, Meta)]
    kind = getattr(leaf.type, "__origin__", leaf.type) if metas else leaf.type
    words = "a size in bytes, as in 65536 or 64KiB," if leaf.unit == BYTES else _words(kind)
    low = next((meta.ge for meta in metas if meta.ge is not None), None)
    above = next((meta.gt for meta in metas if meta.gt is not None), None)
    high = next((meta.le for meta in metas if meta.le is not None), None)
    if low is not None and high is not None:
        return f"{words} from {low} to {high}"
    if low is not None:
        return f"{words} of at least {low}"
    return f"{words} above {above}" if above is not None else words


def _words(kind: Any) -> str:
    if hasattr(kind, "__metadata__"):
        return f"{_words(kind.__origin__)} of at least {kind.__metadata__[0].ge}"
    origin = get_origin(kind)
    if origin is Literal:
        return "one of " + ", ".join(f"'{choice}'" for choice in get_args(kind))
    if origin is Union or type(kind).__name__ == "UnionType":
        return " or ".join(_words(part) for part in get_args(kind))
    if origin is tuple:
        return _list_of(get_args(kind)[0])
    if origin is dict:
        return "a mapping by model"
    return {int: "an integer", float: "a number", bool: "true or false", str: "a text"}[kind]


def _list_of(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Struct):
        return "a list of mappings"
    return "a list of texts" if kind is str else f"a list, each {_words(kind)}"
