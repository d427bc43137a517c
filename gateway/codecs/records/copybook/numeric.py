"""Numbers of COBOL as bytes, a whole column at a time.

Each reader takes [n, width] of uint8 and gives n unscaled numbers: float64 that hold whole numbers exactly up to 15
digits, int64 from 16 to 18, float64 rounded above; and where the bytes are no number of that form, a bool mask (None:
nowhere). Each writer takes n unscaled int64 whose digits fit, and gives [n, width] of uint8.

Source: Enterprise COBOL for z/OS Programming Guide, "Formats for numeric data"; for ASCII the GnuCOBOL manual,
"-fsign"; hexadecimal floating point: z/Architecture Principles of Operation, "HFP number representation".
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

import numpy as np

from gateway.codecs.records.charset import Charset
from gateway.core.tensor import Array

Floats = Literal["ibm", "ieee-big", "ieee-little"]
Numbers = tuple[Array, Array | None]

#: digits that float64 holds exactly
_EXACT: Final = 15
#: where a byte is no digit: any number above 9
_NONE: Final = 255
_NEVER: Final = np.zeros(0, np.bool_)


@lru_cache(maxsize=256)
def _powers(count: int, step: int, last: int) -> Array:
    """10**(last + step * (count - 1)) … 10**last"""
    powers: Array = 10.0 ** (last + step * np.arange(count - 1, -1, -1))
    return powers


def _sum(digits: Array, pairs: bool, count: int, negative: Array) -> Array:
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
    return _sum(high, True, digits, negative), bad


class Zoned:
    """The tables of zoned decimals in one character set: digits, and digits with a sign over them.

    EBCDIC: the zone is the sign, B and D are negative. ASCII: plain digits are positive; GnuCOBOL writes ``p`` to ``y``
    for negative ones, and with -fsign=EBCDIC, as a translated file has it, ``{ A…I`` and ``} J…R``. All are read.
    """

    def __init__(self, charset: Charset, *, overpunched: bool = False) -> None:
        """`overpunched`: in ASCII, signs are written as -fsign=EBCDIC does."""
        self.zero: Final = charset.encode("0")[0]
        self.plus, self.minus = charset.encode("+-")
        positives, negatives = "{ABCDEFGHI", "}JKLMNOPQR"
        if charset.ebcdic:
            zones = [(zone << 4 | digit, digit, zone in (0xB, 0xD)) for zone in range(10, 16) for digit in range(10)]
        else:
            chars = [("0123456789", False), (positives, False), (negatives, True), ("pqrstuvwxy", True)]
            zones = [(charset.encode(signs[digit])[0], digit, minus) for signs, minus in chars for digit in range(10)]
            if not overpunched:
                positives, negatives = "0123456789", "pqrstuvwxy"
        self.signed: Final = np.full(256, _NONE, np.uint8)
        self.negative: Final = np.zeros(256, np.bool_)
        for code, digit, minus in zones:
            self.signed[code], self.negative[code] = digit, minus
        if charset.ebcdic:
            self.write_plus, self.write_minus = (np.arange(zone, zone + 10, dtype=np.uint8) for zone in (0xC0, 0xD0))
        else:
            self.write_plus, self.write_minus = (
                np.frombuffer(charset.encode(chars), np.uint8) for chars in (positives, negatives)
            )

    def read(self, part: Array, digits: int, *, signed: bool, leading: bool, separate: bool) -> Numbers:
        at = 0 if leading else part.shape[1] - 1
        over = part[:, at]
        bad: Array | None = None
        if separate:
            values = (part[:, 1:] if leading else part[:, :-1]) - np.uint8(self.zero)
            negative = over == self.minus
            wrong = ~(negative | (over == self.plus))
        else:
            values = part - np.uint8(self.zero)
            values[:, at] = self.signed[over]
            negative = self.negative[over]
            wrong = negative if not signed else None
        if values.max(initial=0) > 9 or (wrong is not None and wrong.any()):
            bad = values.max(axis=1) > 9
            if wrong is not None:
                bad |= wrong
            values[bad] = 0
        return _sum(values, False, digits, negative), bad

    def write(self, values: Array, digits: int, *, signed: bool, leading: bool, separate: bool) -> Array:
        body = _digits(np.abs(values), digits)
        over = body[:, 0 if leading else -1].copy()
        body += np.uint8(self.zero)
        if not signed:
            return body
        negative = values < 0
        if separate:
            sign = np.where(negative, self.minus, self.plus).astype(np.uint8)[:, None]
            return np.hstack([sign, body] if leading else [body, sign])
        body[:, 0 if leading else -1] = np.where(negative, self.write_minus[over], self.write_plus[over])
        return body


def _digits(values: Array, count: int) -> Array:
    """n whole numbers of at least 0 to [n, count] of their digits."""
    digits = np.empty((len(values), count), np.uint8)
    if count < 10:
        values = values.astype(np.uint32)
    for at in range(count - 1, -1, -1):
        tens = values // 10  # divmod is far slower than this
        digits[:, at] = values - tens * 10
        values = tens
    return digits


def write_packed(values: Array, digits: int, *, signed: bool) -> Array:
    width = digits // 2 + 1
    nibbles = np.empty((len(values), 2 * width), np.uint8)
    nibbles[:, :-1] = _digits(np.abs(values), 2 * width - 1)
    nibbles[:, -1] = np.where(values < 0, 0xD, 0xC) if signed else 0xF
    packed: Array = nibbles[:, ::2] << 4 | nibbles[:, 1::2]
    return packed


def read_binary(part: Array, *, signed: bool, order: str) -> Numbers:
    """`order` is ``>`` or ``<``. A value of 2**63 and more is none."""
    kind = "i" if signed else "u"
    found = np.ascontiguousarray(part).view(f"{order}{kind}{part.shape[1]}").ravel()
    beyond: Array = found >= np.uint64(1 << 63) if found.dtype.char in "LQ" else _NEVER
    return found.astype(np.int64), beyond if beyond.any() else None


def write_binary(values: Array, width: int, *, order: str) -> Array:
    return values.astype(f"{order}i{width}").view(np.uint8).reshape(len(values), width)


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
