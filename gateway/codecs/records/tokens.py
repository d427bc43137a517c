"""Columns as text: one token a row, made for a whole column at a time."""

from __future__ import annotations

from typing import Final

import numpy as np
import orjson

from gateway.codecs.records.columns import rows_where
from gateway.core.tensor import Array

_NUMPY: Final = orjson.OPT_SERIALIZE_NUMPY
_NULL: Final = b"null"


def json_tokens(array: Array, valid: Array | None = None) -> list[bytes]:
    """Each row as JSON: floats as the shortest text that reads back the same, `null` if missing or not finite."""
    if array.dtype == object:
        tokens = list(map(_dumps, array.tolist()))
    elif array.ndim == 1:
        tokens = _split(array)
    else:
        tokens = [b"[%b]" % row for row in _rows(array)]
    if valid is not None:
        _blank_out(tokens, array, valid)
    return tokens


def _dumps(value: object) -> bytes:
    # orjson refuses an integer beyond 64 bits, and text that is no Unicode: neither comes out of a decoder
    return orjson.dumps(value, option=_NUMPY)


def _split(array: Array) -> list[bytes]:
    text = orjson.dumps(_plain(array), option=_NUMPY)
    return text[1:-1].split(b",") if len(array) else []


def _rows(array: Array) -> list[bytes]:
    if array.ndim > 2 or not array.size:
        return [orjson.dumps(row, option=_NUMPY)[1:-1] for row in _plain(array)]
    return orjson.dumps(_plain(array), option=_NUMPY)[2:-2].split(b"],[")


def _plain(array: Array) -> Array:
    """As orjson takes it."""
    return np.ascontiguousarray(array, np.float32 if array.dtype == np.float16 else None)


def _blank_out(tokens: list[bytes], array: Array, valid: Array) -> None:
    for row in rows_where(~valid):
        if valid.ndim == 1:
            tokens[row] = _NULL
        else:
            pairs = zip(array[row].tolist(), valid[row].tolist(), strict=True)
            values = [value if there else None for value, there in pairs]
            tokens[row] = orjson.dumps(values, option=_NUMPY)


def text_tokens(array: Array, valid: Array | None = None) -> list[bytes]:
    """Each row as bare UTF-8 text: strings as they are, numbers as in JSON, nothing for what is missing or NaN.

    `array` is [rows], booleans are ``true`` and ``false``.
    """
    if array.dtype == object:
        tokens = [
            value.encode() if isinstance(value, str) else b"" if value is None else _dumps(value)
            for value in array.tolist()
        ]
    else:
        tokens = _split(array)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            for row in rows_where(~np.isfinite(array)):
                value = float(array[row])
                tokens[row] = b"" if value != value else b"%a" % value
    if valid is not None:
        for row in rows_where(~valid):
            tokens[row] = b""
    return tokens
