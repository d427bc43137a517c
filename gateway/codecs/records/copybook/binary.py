"""Binary numbers, COMP, COMP-5 and the like: see `digits` for the contract."""

from __future__ import annotations

from typing import Final

import numpy as np

from gateway.codecs.records.copybook.digits import Numbers
from gateway.core.tensor import Array

_NEVER: Final = np.zeros(0, np.bool_)
_WORDS: Final = (1, 2, 4, 8)


def read_binary(part: Array, *, signed: bool, order: str) -> Numbers:
    """`order` is ``>`` or ``<``. A value of 2**63 and more is none."""
    if part.shape[1] not in _WORDS:
        part, order = _widened(part if order == ">" else part[:, ::-1], signed), ">"
    kind = "i" if signed else "u"
    found = np.ascontiguousarray(part).view(f"{order}{kind}{part.shape[1]}").ravel()
    beyond: Array = found >= np.uint64(1 << 63) if found.dtype.char in "LQ" else _NEVER
    return found.astype(np.int64), beyond if beyond.any() else None


def write_binary(values: Array, width: int, *, order: str) -> Array:
    if width in _WORDS:
        return values.astype(f"{order}i{width}").view(np.uint8).reshape(len(values), width)
    wide: Array = values.astype(">i8").view(np.uint8).reshape(len(values), 8)[:, 8 - width :]
    return wide if order == ">" else wide[:, ::-1]


def bounds(width: int, *, signed: bool) -> tuple[int, int]:
    """The least and the most that is read from so many bytes."""
    most = (1 << min(8 * width - signed, 63)) - 1
    return (-most - 1 if signed else 0), most


def _widened(part: Array, signed: bool) -> Array:
    """[n, width], the most significant byte first, to [n, 8]."""
    wide = np.zeros((len(part), 8), np.uint8)
    wide[:, 8 - part.shape[1] :] = part
    if signed:
        wide[part[:, 0] > 0x7F, : 8 - part.shape[1]] = 0xFF
    return wide
