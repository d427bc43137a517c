"""Records that are columns of Python values, of a database say: never text on their way.

What a value means where the model takes
    numbers   integers, floats and decimals as the nearest double; true and false as 1 and 0; a date or time as seconds
              since 1970 (without a zone it is UTC), a time of day or an interval as seconds
    integers  integers, and decimals and floats that are whole; true and false as 1 and 0
    booleans  true and false, and 1 and 0
    texts     texts; anything else as JSON would write it: ISO 8601, all digits of a decimal, bytes as hex
NULL is missing everywhere. Text where a number is wanted is at fault, even if it looks like one.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np

from gateway.codecs.records.build import column
from gateway.codecs.records.columns import Columns, Encoded, Field, Kind, objects, pick
from gateway.codecs.records.json import JsonDecoder
from gateway.codecs.records.jsonencoder import column_of
from gateway.core.errors import InvalidArgument
from gateway.core.table import Table
from gateway.core.tensor import Array

_MIDNIGHT: Final = time(tzinfo=UTC)


class TableDecoder:
    """Takes a Table; records that are bytes (from a dead letter, say) are JSON objects of the same fields."""

    def __init__(self, fields: Sequence[Field]) -> None:
        """Raises InvalidArgument for what a column cannot be."""
        for field in fields:
            if field.expression or field.width:
                raise InvalidArgument(f"field '{field.name}' is a list or an expression, columns have neither")
        self._fields: Final = tuple(fields)
        self._texts: JsonDecoder | None = None

    def decode(self, values: Sequence[bytes | None]) -> Columns:
        if not isinstance(values, Table):
            if self._texts is None:
                # a name is one column, whatever signs it has
                fields = [Field(_quoted(field.name), field.kind) for field in self._fields]
                self._texts = JsonDecoder(fields, strict=False)
            return self._renamed(self._texts.decode(values))
        columns = Columns(len(values), {})
        found = dict(zip(values.names, values.columns, strict=True))
        for field in self._fields:
            if field.name not in found:
                known = ", ".join(values.names)
                raise InvalidArgument(f"column '{field.name}' is not among those of the input: {known}")
            _fill(columns, field, found[field.name])
        return columns

    def _renamed(self, columns: Columns) -> Columns:
        names = {_quoted(field.name): field.name for field in self._fields}
        columns.fields = {names[name]: array for name, array in columns.fields.items()}
        columns.valid = {names[name]: mask for name, mask in columns.valid.items()}
        return columns


class TableEncoder:
    """`fields`: the column to write → which column of the records, or an element of it (``probabilities[1]``).

    Numbers that are not finite are written as NULL, as JSON would have it.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._names: Final = tuple(fields)
        self._columns: Final = [column_of(source) for source in fields.values()]

    def encode(self, columns: Columns) -> Encoded:
        return Encoded(Table(self._names, [_values(*pick(columns, *source)) for source in self._columns]))


def _values(array: Array, valid: Array | None) -> list[Any]:
    values: list[Any] = array.tolist()
    if array.ndim > 1:
        return values
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        valid = finite if valid is None else valid & finite
        if bool(valid.all()):
            return values
    if valid is None:
        return values
    return [value if there else None for value, there in zip(values, valid.tolist(), strict=True)]


def _fill(columns: Columns, field: Field, values: Sequence[Any]) -> None:
    if field.kind is Kind.ANY:
        columns.fields[field.name] = objects(values)
        if None in values:
            columns.valid[field.name] = np.fromiter((value is not None for value in values), np.bool_, len(values))
        return
    if field.kind is Kind.NUMBER and (numbers := _doubles(values)) is not None:
        column(columns, field, numbers, checked=True)
        return
    plain, convert = _KINDS[field.kind]
    if not plain.issuperset(map(type, values)):
        values = [_converted(columns, field, row, value, convert) for row, value in enumerate(values)]
    column(columns, field, values, checked=True)


def _doubles(values: Sequence[Any]) -> Any:
    """All at once where each of them is a number: at a fifth of the cost of looking at their types. Else None."""
    try:
        packed = values if isinstance(values, array) and values.typecode == "d" else None
        return np.frombuffer(packed or struct.pack(f"{len(values)}d", *values))
    except (struct.error, OverflowError, ValueError):
        return None


def _converted(columns: Columns, field: Field, row: int, value: Any, convert: Callable[[Any], Any]) -> Any:
    if value is None:
        return None
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError, ArithmeticError):
        kind = type(value).__name__
        columns.blame(row, f"field '{field.name}' is of type {kind}, which is no {field.kind.value}")
        return None


def _number(value: Any) -> float:
    match value:
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        case date():
            return datetime.combine(value, _MIDNIGHT).timestamp()
        case timedelta():
            return value.total_seconds()
        case time():
            return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6
        case str() | bytes():
            raise TypeError
        case _:
            return float(value)


def _integer(value: Any) -> int:
    if isinstance(value, (float, Decimal)) and value == int(value):
        return int(value)
    if isinstance(value, int):
        return int(value)
    raise TypeError


def _boolean(value: Any) -> bool:
    if isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    raise TypeError


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


_NONE: Final = type(None)
#: the types that are taken as they are, and what makes one of them of others
_KINDS: Final[dict[Kind, tuple[frozenset[type], Callable[[Any], Any]]]] = {
    Kind.NUMBER: (frozenset({float, int, bool, _NONE}), _number),
    Kind.INTEGER: (frozenset({int, _NONE}), _integer),
    Kind.BOOLEAN: (frozenset({bool, _NONE}), _boolean),
    Kind.STRING: (frozenset({str, _NONE}), _string),
}


def _quoted(name: str) -> str:
    """As a step of a path."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
