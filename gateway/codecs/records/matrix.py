"""Records of one length as a matrix of bytes, [rows, length] of uint8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.codecs.records.charset import UNREADABLE, Charset
from gateway.codecs.records.columns import Columns
from gateway.core.tensor import Array


def matrix(values: Sequence[bytes], length: int) -> Array:
    """A view of the joined values, each of which has `length` bytes."""
    return np.frombuffer(b"".join(values), np.uint8).reshape(len(values), length)


def rows_of(matrix: Array) -> list[bytes]:
    rows, length = matrix.shape
    if not length:
        return [b""] * rows
    data = matrix.tobytes()
    return [data[at : at + length] for at in range(0, len(data), length)]


def strings(columns: Columns, name: str, part: Array, charset: Charset) -> Array:
    """[n, width] to n strings without the blanks behind them: the first of each record, the second of each…

    A record with a byte that is no character of the set is blamed.
    """
    count, width = part.shape
    data = part.tobytes()
    text = charset.decode(data)
    values = [text[at : at + width].rstrip(" ") for at in range(0, len(text), width)] if width else [""] * count
    if UNREADABLE in text:
        for at, value in enumerate(values):
            found = value.find(UNREADABLE)
            if found >= 0:
                byte = data[at * width + found]
                columns.blame(at % columns.rows, f"field '{name}' has the byte {byte:#04x}, which {charset.name} lacks")
    return np.fromiter(values, object, count)
