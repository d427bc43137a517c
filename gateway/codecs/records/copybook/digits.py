"""Whole numbers and their decimal digits, a whole column at a time.

What the readers of packed, zoned and binary numbers share: each takes [n, width] of uint8 and gives n unscaled numbers:
float64 that hold whole numbers exactly up to 15 digits, int64 from 16 to 18, float64 rounded above; and where the bytes
are no number of that form, a bool mask (None: nowhere). Each writer takes n unscaled int64 whose digits fit, and gives
[n, width] of uint8.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from gateway.core.tensor import Array

Numbers = tuple[Array, Array | None]

#: digits that float64 holds exactly
_EXACT: Final = 15


@lru_cache(maxsize=256)
def _powers(count: int, step: int, last: int) -> Array:
    """10**(last + step * (count - 1)) … 10**last"""
    powers: Array = 10.0 ** (last + step * np.arange(count - 1, -1, -1))
    return powers


def sum_digits(digits: Array, pairs: bool, count: int, negative: Array) -> Array:
    """[n, k] of digits, or of pairs of them with a digit last, as numbers of `count` digits."""
    width = digits.shape[1]
    weights = np.append(_powers(width - 1, 2, 1), 1.0) if pairs else _powers(width, 1, 0)
    sign = 1 - 2 * negative.view(np.int8)
    if count <= _EXACT:
        values = digits @ weights
        values *= sign
        values += 0.0  # no -0
        return values
    # in two parts, of which each is exact
    cut = width - (8 if pairs else 15)
    low, high = digits[:, cut:] @ weights[cut:], digits[:, :cut] @ (weights[:cut] / 10.0**_EXACT)
    if count <= 18:
        return (high.astype(np.int64) * 10**_EXACT + low.astype(np.int64)) * sign
    rounded: Array = (high * 10.0**_EXACT + low) * sign + 0.0
    return rounded


def split_digits(values: Array, count: int) -> Array:
    """n whole numbers of at least 0 to [n, count] of their digits."""
    digits = np.empty((len(values), count), np.uint8)
    if count < 10:
        values = values.astype(np.uint32)
    for at in range(count - 1, -1, -1):
        tens = values // 10  # divmod is far slower than this
        digits[:, at] = values - tens * 10
        values = tens
    return digits
