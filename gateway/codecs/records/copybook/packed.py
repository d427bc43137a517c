"""Packed decimals, COMP-3 and COMP-6: see `digits` for the contract.

Source: Enterprise COBOL for z/OS Programming Guide, "Formats for numeric data"; COMP-6: GnuCOBOL Programmer's Guide.
"""

from __future__ import annotations

import numpy as np

from gateway.codecs.records.copybook.digits import Numbers, split_digits, sum_digits
from gateway.core.tensor import Array


def read_packed(part: Array, digits: int, *, signed: bool) -> Numbers:
    """COMP-3. A negative number in an unsigned field is none, nor is one with more than `digits`."""
    high, low = part >> 4, part & 15
    sign = low[:, -1].copy()
    negative = (sign == 0xD) | (sign == 0xB)
    low[:, -1] = 0
    bad: Array | None = None
    first = 0 if digits % 2 == 0 else 9
    fine = high.max(initial=0) < 10 and low.max(initial=0) < 10 and sign.min(initial=15) > 9
    if not fine or (not first and high[:, 0].any()) or (not signed and negative.any()):
        bad = np.concatenate([high, low], axis=1).max(axis=1) > 9
        bad |= (sign < 10) | (high[:, 0] > first) | (negative & (not signed))
        high[bad] = low[bad] = 0
    ones = high[:, -1].copy()
    high *= 10
    high += low
    high[:, -1] = ones
    return sum_digits(high, True, digits, negative), bad


def write_packed(values: Array, digits: int, *, signed: bool) -> Array:
    width = digits // 2 + 1
    nibbles = np.empty((len(values), 2 * width), np.uint8)
    nibbles[:, :-1] = split_digits(np.abs(values), 2 * width - 1)
    nibbles[:, -1] = np.where(values < 0, 0xD, 0xC) if signed else 0xF
    packed: Array = nibbles[:, ::2] << 4 | nibbles[:, 1::2]
    return packed


def read_unsigned(part: Array, digits: int) -> Numbers:
    """COMP-6: two digits a byte, and no sign."""
    nibbles = np.empty((len(part), 2 * part.shape[1]), np.uint8)
    nibbles[:, ::2], nibbles[:, 1::2] = part >> 4, part & 15
    beyond = nibbles.shape[1] - digits
    bad: Array | None = None
    if nibbles.max(initial=0) > 9 or nibbles[:, :beyond].any():
        bad = (nibbles.max(axis=1) > 9) | nibbles[:, :beyond].any(axis=1)
        nibbles[bad] = 0
    return sum_digits(nibbles[:, beyond:], False, digits, np.zeros(len(part), np.bool_)), bad


def write_unsigned(values: Array, digits: int) -> Array:
    nibbles = split_digits(values, digits + digits % 2)
    packed: Array = nibbles[:, ::2] << 4 | nibbles[:, 1::2]
    return packed
