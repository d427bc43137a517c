"""Columns of text tokens to columns of values: numbers by one decoding of the whole column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from gateway.codecs.records.columns import DTYPES, Columns, Field, Kind
from gateway.core.tensor import Array

_floats: Final = msgspec.json.Decoder(list[float])
_floats_or_null: Final = msgspec.json.Decoder(list[float | None])
_NUMBER: Final = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf(inity)?)", re.IGNORECASE)
_INTEGER: Final = re.compile(rb"[+-]?\d+")
_TRUTH: Final = {
    **dict.fromkeys((b"true", b"t", b"yes", b"y", b"1"), True),
    **dict.fromkeys((b"false", b"f", b"no", b"n", b"0"), False),
}
_EXPECTED: Final = {Kind.NUMBER: "a number", Kind.INTEGER: "an integer", Kind.BOOLEAN: "true or false"}


def numbers(text: bytes, count: int) -> Array | None:
    """`count` numbers joined by commas, where all are written as in JSON (spaces round them are allowed), else None.

    Each of the joined tokens gives at least one number or an error, so that `count` numbers are one of each.
    """
    try:
        values = _floats.decode(b"[%b]" % text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return np.array(values, np.float64) if len(values) == count else None


def tokens_to_column(columns: Columns, field: Field, tokens: Sequence[bytes], encoding: str = "utf-8") -> None:
    """Adds the field's column: an empty token is a missing value, one that cannot be read is blamed."""
    if field.kind is Kind.NUMBER:
        found = _fast_numbers(tokens)
        if found is not None:
            _set(columns, field, found, ~np.isnan(found))
            return
    if field.kind in (Kind.STRING, Kind.ANY):
        _strings(columns, field, tokens, encoding)
        return
    read = {Kind.NUMBER: _number, Kind.INTEGER: _integer, Kind.BOOLEAN: _boolean}[field.kind]
    values = np.zeros(len(tokens), DTYPES[field.kind])
    valid = np.ones(len(tokens), np.bool_)
    for row, token in enumerate(tokens):
        token = token.strip()
        if not token:
            valid[row] = False
            continue
        try:
            values[row] = read(token)
        except (ValueError, OverflowError):
            shown = token[:40].decode("utf-8", "backslashreplace")
            columns.blame(row, f"field '{field.name}' is '{shown}', expected {_EXPECTED[field.kind]}")
    if field.kind is Kind.NUMBER:
        values[~valid] = np.nan
        valid &= ~np.isnan(values)
    _set(columns, field, values, valid)


def _fast_numbers(tokens: Sequence[bytes]) -> Array | None:
    found = numbers(b",".join(tokens), len(tokens))
    if found is not None or b"" not in tokens:
        return found
    try:
        values = _floats_or_null.decode(b"[%b]" % b",".join([token or b"null" for token in tokens]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return np.array(values, np.float64) if len(values) == len(tokens) else None


def _set(columns: Columns, field: Field, values: Array, valid: Array) -> None:
    columns.fields[field.name] = values
    if not valid.all():
        columns.valid[field.name] = valid


def _number(token: bytes) -> float:
    if _NUMBER.fullmatch(token) is None:
        raise ValueError
    return float(token)


def _integer(token: bytes) -> int:
    if _INTEGER.fullmatch(token) is None:
        raise ValueError
    return int(token)


def _boolean(token: bytes) -> bool:
    truth = _TRUTH.get(token.lower())
    if truth is None:
        raise ValueError
    return truth


def _strings(columns: Columns, field: Field, tokens: Sequence[bytes], encoding: str) -> None:
    values: list[Any]
    try:
        values = [token.decode(encoding) for token in tokens]
    except UnicodeDecodeError:
        values = []
        for row, token in enumerate(tokens):
            try:
                values.append(token.decode(encoding))
            except UnicodeDecodeError as error:
                columns.blame(row, f"field '{field.name}' is not {encoding}: byte {token[error.start]:#04x}")
                values.append("")
    array = np.fromiter(values, object, len(values))
    _set(columns, field, array, np.fromiter(map(bool, values), np.bool_, len(values)))
