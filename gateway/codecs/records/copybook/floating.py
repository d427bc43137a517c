"""Floating point numbers, COMP-1 and COMP-2, of IEEE 754 and of the host.

Source: z/Architecture Principles of Operation, "HFP number representation".
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from gateway.codecs.records.copybook.digits import Numbers
from gateway.core.tensor import Array

Floats = Literal["ibm", "ieee-big", "ieee-little"]


def read_float(part: Array, floats: Floats) -> Numbers:
    """COMP-1 and COMP-2."""
    width = part.shape[1]
    if floats == "ibm":
        sign = np.where(part[:, 0] & 0x80, -1.0, 1.0)
        power = 4 * ((part[:, 0] & 0x7F).astype(np.int32) - 64) - 8 * (width - 1)
        return sign * np.ldexp(part[:, 1:] @ 256.0 ** np.arange(width - 2, -1, -1), power) + 0.0, None
    order = ">" if floats == "ieee-big" else "<"
    return np.ascontiguousarray(part).view(f"{order}f{width}").ravel().astype(np.float64), None


def write_float(values: Array, width: int, floats: Floats) -> Array:
    """`values` are float64, none beyond `largest_float`."""
    if floats == "ibm":
        return _write_hexadecimal(values, width)
    order = ">" if floats == "ieee-big" else "<"
    return values.astype(f"{order}f{width}").view(np.uint8).reshape(len(values), width)


def largest_float(width: int, floats: Floats) -> float:
    if floats == "ibm":
        return 16.0**63 * (1 - 16.0 ** (-6 if width == 4 else -13))
    return float(np.finfo(f"f{width}").max)


def _write_hexadecimal(values: Array, width: int) -> Array:
    fraction, power = np.frexp(np.abs(values))
    hexes = -(-power // 4)  # the power of 16 that leaves a fraction of at least 1/16
    bits = 8 * (width - 1)
    whole = np.rint(np.ldexp(fraction, power - 4 * hexes + bits))
    over = whole >= 2.0**bits
    whole, hexes = np.where(over, whole / 16, whole), hexes + over
    exponent = np.where(whole == 0, 0, hexes + 64)
    whole = np.where(exponent < 0, 0, whole)
    head = np.clip(exponent, 0, 127).astype(np.uint64) | (np.signbit(values) & (whole != 0)).astype(
        np.uint64
    ) << np.uint64(7)
    word = head << np.uint64(bits) | whole.astype(np.uint64)
    written: Array = word.astype(">u8").view(np.uint8).reshape(len(values), 8)[:, 8 - width :]
    return written
