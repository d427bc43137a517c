"""Columns to JSON records: one object a row, from a template and each field's tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from gateway.codecs.records.columns import Columns, Encoded, pick
from gateway.codecs.records.path import Path, parse_path
from gateway.codecs.records.tokens import json_tokens
from gateway.core.errors import InvalidArgument


class JsonEncoder:
    """`fields`: where in the record → which column, or an element of it: ``{"answer.score": "probabilities[1]"}``.

    A value is one line, without its end.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        """Raises InvalidArgument for a malformed or contradicting name."""
        tree: dict[str, Any] = {}
        for target, source in fields.items():
            _place(tree, target, parse_path(target), column_of(source))
        self._columns: Final[list[tuple[str, int]]] = []
        self._template: Final = _template(tree, self._columns)

    def encode(self, columns: Columns) -> Encoded:
        tokens = [json_tokens(*pick(columns, name, element)) for name, element in self._columns]
        if not tokens:
            return Encoded([self._template % ()] * columns.rows)
        return Encoded(list(map(self._template.__mod__, zip(*tokens, strict=True))))


def column_of(source: str) -> tuple[str, int]:
    """A column's name and the element wanted of it, -1 for all: ``probabilities[1]``."""
    name, bracket, element = source.rpartition("[")
    if bracket and name and element.endswith("]") and element[:-1].isdecimal():
        return name, int(element[:-1])
    return source, -1


def _place(tree: dict[str, Any], target: str, path: Path, source: tuple[str, int]) -> None:
    *way, last = path
    for step in way:
        inner = tree.setdefault(str(step), {})
        if not isinstance(inner, dict):
            raise InvalidArgument(f"field '{target}' is to be written within '{step}', which is a value itself")
        tree = inner
    if any(isinstance(step, int) for step in path):
        raise InvalidArgument(f"field '{target}' is to be written into a list: expected names joined by dots")
    if str(last) in tree:
        raise InvalidArgument(f"field '{target}' is written twice, or has fields of its own")
    tree[str(last)] = source


def _template(tree: dict[str, Any], columns: list[tuple[str, int]]) -> bytes:
    parts = []
    for name, inner in tree.items():
        key = orjson.dumps(name).replace(b"%", b"%%")
        if isinstance(inner, dict):
            parts.append(b"%b:%b" % (key, _template(inner, columns)))
        else:
            columns.append(inner)
            parts.append(key + b":%b")
    return b"{" + b",".join(parts) + b"}"
