"""Python values, one a record, to a column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, compress
from typing import Any, Final

import msgspec
import numpy as np

from gateway.codecs.records.columns import DTYPES, Columns, Field, Kind
from gateway.core.tensor import Array

#: (kind, whether it is a list) → the type that msgspec reads it as; `None` is a missing value
TYPES: Final[dict[tuple[Kind, bool], Any]] = {
    (Kind.NUMBER, False): float | None,
    (Kind.INTEGER, False): int | None,
    (Kind.BOOLEAN, False): bool | None,
    (Kind.STRING, False): str | None,
    (Kind.ANY, False): Any,
    (Kind.NUMBER, True): list[float | None] | None,
    (Kind.INTEGER, True): list[int | None] | None,
    (Kind.BOOLEAN, True): list[bool | None] | None,
    (Kind.STRING, True): list[str | None] | None,
    (Kind.ANY, True): list[Any] | None,
}

_lists: Final[dict[tuple[Kind, bool], Any]] = {
    key: list[wanted]  # type: ignore[valid-type]
    for key, wanted in TYPES.items()
}
_EMPTY: Final[dict[Kind, Any]] = {Kind.INTEGER: 0, Kind.BOOLEAN: False, Kind.STRING: "", Kind.ANY: None}
_MISMATCH: Final = re.compile(r"Expected `(.*?)`, got `(.*?)`(?: - at `\$\.?(.*)`)?$")
_RANGE: Final = re.compile(r"Number out of range - at `\$\.?(.*)`$")
_WORDS: Final = {"float": "number", "int": "integer", "bool": "boolean", "str": "string"}


def column(columns: Columns, field: Field, values: Sequence[Any], *, checked: bool, strict: bool = True) -> None:
    """Adds the field's column.

    `checked`: every value is of the field's type, or None; else a record with another one is blamed.
    """
    if not checked:
        values = _convert(columns, field, values, strict)
    if not field.width:
        array, valid = _array(columns, field, values, 1)
    else:
        flat = _flatten(columns, field, values)
        array, valid = _array(columns, field, flat, field.width)
        array = array.reshape(len(values), field.width)
        valid = None if valid is None else valid.reshape(array.shape)
    columns.fields[field.name] = array
    if valid is not None:
        columns.valid[field.name] = valid


def _convert(columns: Columns, field: Field, values: Sequence[Any], strict: bool) -> Sequence[Any]:
    wanted = TYPES[field.kind, field.width > 0]
    try:
        converted: list[Any] = msgspec.convert(values, _lists[field.kind, field.width > 0], strict=strict)
    except msgspec.ValidationError:
        converted = []
        for row, value in enumerate(values):
            try:
                converted.append(msgspec.convert(value, wanted, strict=strict))
            except msgspec.ValidationError as error:
                columns.blame(row, reason(error, field.name))
                converted.append(None)
    return converted


def _flatten(columns: Columns, field: Field, values: Sequence[Any]) -> list[Any]:
    width = field.width
    nothing = [None] * width
    rows = []
    for row, value in enumerate(values):
        if value is not None and len(value) != width:
            columns.blame(row, f"field '{field.name}' has {len(value)} values, expected {width}")
            value = None
        rows.append(nothing if value is None else value)
    return list(chain.from_iterable(rows))


def _array(columns: Columns, field: Field, values: Sequence[Any], each: int) -> tuple[Array, Array | None]:
    """`each` values belong to a record. Missing ones become NaN, 0, False, "" or None."""
    kind, count = field.kind, len(values)
    if kind is Kind.NUMBER:
        numbers: Array = np.array(values, np.float64)  # None becomes NaN
        missing = np.isnan(numbers)
        return numbers, ~missing if missing.any() else None
    valid = None
    if None in values if kind is not Kind.ANY else any(map(_is_none, values)):
        valid = np.fromiter((value is not None for value in values), np.bool_, count)
        values = [_EMPTY[kind] if value is None else value for value in values]
    try:
        return np.fromiter(values, DTYPES[kind], count), valid
    except OverflowError:
        big = [not -(1 << 63) <= value < 1 << 63 for value in values]
        for at in compress(range(count), big):
            columns.blame(at // each, f"field '{field.name}' is {values[at]}, beyond 64 bits")
        return np.fromiter((0 if b else v for b, v in zip(big, values, strict=True)), np.int64, count), valid


def _is_none(value: Any) -> bool:
    return value is None


def reason(error: Exception, field: str = "") -> str:
    """msgspec's message in the words of the formats, naming the field."""
    found = _MISMATCH.search(str(error))
    if found is None:
        far = _RANGE.search(str(error))
        if far is not None:
            return f"field '{field or far[1]}' is beyond what a number can be"
        return f"field '{field}': {error}" if field else f"it is no JSON object: {error}"
    expected = " or ".join(_WORDS.get(word, word) for word in found[1].split(" | "))
    name = field or found[3]
    what = f"field '{name}'" if name else "the record"
    return f"{what} is of type {_WORDS.get(found[2], found[2])}, expected {expected}"
