"""Python values as a column takes them, and as a model gets them: the policy for every type, in one place.

A value that its column cannot hold as it is makes its record a dead letter. Nothing is cut, rounded to another type or
replaced by NULL on the way; what a column itself rounds (a NUMERIC(10, 2) its third decimal) is the database's affair.

boolean   bool; 0 and 1
integer   int of 64 bits; bool; a float or Decimal without a fraction; text of digits, as a model's version is
float     float; int; Decimal. NaN and the infinities where the database has them: PostgreSQL; ∞ in SQLite
decimal   Decimal; int; float by its shortest decimal form; text of a number
text      str; other values as JSON would write them
bytes     bytes; str as UTF-8
date, time, datetime   theirs; text of ISO 8601. A datetime without a zone means UTC
JSON      text as it is; anything else is written as JSON
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from adapters.sql.schema import Column, Kind
from gateway.core.stream import DataError

#: what a column takes as it is, as far as its type goes
NATIVE: dict[Kind, frozenset[type]] = {
    Kind.BOOLEAN: frozenset({bool}),
    Kind.INTEGER: frozenset({int}),
    Kind.FLOAT: frozenset({float}),
    Kind.DECIMAL: frozenset({Decimal}),
    Kind.TEXT: frozenset({str}),
    Kind.BYTES: frozenset({bytes}),
    Kind.UUID: frozenset({UUID}),
}
DIGITS = re.compile(r"[+-]?[0-9]{1,19}")
LEAST, MOST = -(1 << 63), (1 << 63) - 1


def convert(column: Column, values: Sequence[Any], *, nan: bool = True, infinity: bool = True) -> Sequence[Any]:
    """`nan`, `infinity`: whether the database has them. Raises DataError with the index of the value."""
    to = _TO.get(column.kind)
    if to is None:
        return values
    made = values
    if not _is_native(column.kind, values):
        made = _converted(column, values, to)
    if column.kind is Kind.DECIMAL or (column.kind is Kind.FLOAT and not (nan and infinity)):
        _check_finite(column, made, nan, infinity)
    return made


def _is_native(kind: Kind, values: Sequence[Any]) -> bool:
    """Looks at all values together, which costs a tenth of looking at each."""
    native = NATIVE.get(kind)
    if native is None:
        return False
    types = set(map(type, values))
    null = type(None) in types
    if not types <= (native | {type(None)} if null else native):
        return False
    if kind is Kind.INTEGER:
        there = [value for value in values if value is not None] if null else values
        return not there or (min(there) >= LEAST and max(there) <= MOST)
    # What is not ASCII may have an unpaired surrogate.
    return kind is not Kind.TEXT or "".join(filter(None, values) if null else values).isascii()


def _converted(column: Column, values: Sequence[Any], to: Callable[[Any], Any]) -> list[Any]:
    made: list[Any] = []
    for row, value in enumerate(values):
        try:
            made.append(None if value is None else to(value))
        except (TypeError, ValueError, OverflowError, InvalidOperation) as error:
            raise DataError(_refusal(column, value, str(error)), row) from error
    return made


def _check_finite(column: Column, values: Sequence[Any], nan: bool, infinity: bool) -> None:
    for row, value in enumerate(values):
        if value is None or math.isfinite(value):
            continue
        if not (nan if math.isnan(value) else infinity):
            raise DataError(_refusal(column, value, "the database has no such number"), row)


def _refusal(column: Column, value: Any, why: str) -> str:
    shown = repr(value)
    return (
        f"column '{column.name}' ({column.type or column.kind.value}): expected {column.kind.value}, found "
        f"{shown if len(shown) <= 80 else shown[:77] + '...'}: {why}"
    )


def _boolean(value: Any) -> bool:
    if value is True or value is False or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise TypeError("not a boolean")


def _integer(value: Any) -> int:
    if isinstance(value, int):
        number = value
    elif isinstance(value, str):
        if not DIGITS.fullmatch(value):
            raise ValueError("not an integer")
        number = int(value)
    else:
        number = int(value)
        if number != value:
            raise ValueError("not an integer")
    if not LEAST <= number <= MOST:
        raise OverflowError("more than 64 bits")
    return int(number)


def _float(value: Any) -> float:
    if isinstance(value, (str, bytes)):
        raise TypeError("not a number")
    return float(value)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool):
        return Decimal(int(value))
    if isinstance(value, (Decimal, int)):
        return Decimal(value)
    if isinstance(value, (float, str)):
        return Decimal(repr(value) if isinstance(value, float) else value)
    return Decimal(repr(float(value)))


def _text(value: Any) -> str:
    if isinstance(value, str):
        # An unpaired surrogate has no bytes in any encoding.
        value.encode()
        return value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode()
    return _json(value) if isinstance(value, (bool, dict, list, tuple)) else str(value)


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(memoryview(value))


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        raise TypeError("it has a time of day")
    return value if isinstance(value, date) else date.fromisoformat(value)


def _time(value: Any) -> time:
    return value if isinstance(value, time) else time.fromisoformat(value)


def _instant(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _datetime(value: Any) -> datetime:
    return _instant(value).astimezone(UTC).replace(tzinfo=None)


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _json(value: Any) -> str:
    if isinstance(value, str):
        json.loads(value)
        return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)


_TO: dict[Kind, Callable[[Any], Any]] = {
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.DECIMAL: _decimal,
    Kind.TEXT: _text,
    Kind.BYTES: _bytes,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.DATETIME: _datetime,
    Kind.INSTANT: _instant,
    Kind.UUID: _uuid,
    Kind.JSON: _json,
}
