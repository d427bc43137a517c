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

_NAN: Final = np.nan
#: digits that float64 holds exactly
_EXACT: Final = 15


def _tables() -> tuple[Array, Array, Array]:
    """byte → its two digits as a number, the digit of its high half, the sign of its low half; NaN for others."""
    high, low = np.divmod(np.arange(256), 16)
    digit = np.where(high < 10, high, _NAN)
    pair = np.where((high < 10) & (low < 10), high * 10 + low, _NAN)
    sign = np.where(low < 10, _NAN, np.where((low == 11) | (low == 13), -1.0, 1.0))
    return pair, digit, sign


_PAIR, _HIGH, _SIGN = _tables()
#: the digit of a packed number's last byte
_LAST: Final = _HIGH + 0 * _SIGN
_NEGATIVE: Final = _SIGN < 0


@lru_cache(maxsize=256)
def _powers(count: int, step: int, last: int) -> Array:
    """10**(last + step * (count - 1)) … 10**last"""
    return 10.0 ** (last + step * np.arange(count - 1, -1, -1))


def _weigh(digits: Array, step: int, last: int) -> Array:
    """[n, k] of digits or pairs of them to numbers, the last weighing 10**last; float64, NaN for what has no value."""
    return digits @ _powers(digits.shape[1], step, last)


def _nowhere(bad: Array) -> Array | None:
    return bad if bad.any() else None


def _finish(low: Array, high: Array | None, shift: int, digits: int, negative: Array) -> Numbers:
    """`high` counts 10**shift, where the digits do not fit in one float64."""
    if high is None:
        np.negative(low, out=low, where=negative)
        low += 0.0  # no -0
        return low, _nowhere(np.isnan(low))
    bad = np.isnan(low) | np.isnan(high)
    low, high = np.where(bad, 0, low), np.where(bad, 0, high)
    if digits <= 18:
        whole = high.astype(np.int64) * 10**shift + low.astype(np.int64)
        return np.where(negative, -whole, whole), _nowhere(bad)
    total = high * 10.0**shift + low
    return np.where(negative, -total, total) + 0.0, _nowhere(bad)


def read_packed(part: Array, digits: int, *, signed: bool) -> Numbers:
    """COMP-3. A negative number in an unsigned field is none, nor is one with more than `digits`."""
    last = part[:, -1]
    ones = _LAST[last]
    negative = _NEGATIVE[last]
    if not signed:
        ones[negative] = _NAN
    if digits % 2 == 0:
        ones[part[:, 0] > 0x0F] = _NAN
    pairs = part[:, :-1]
    if digits <= _EXACT:
        return _finish(ones + _weigh(_PAIR[pairs], 2, 1), None, 0, digits, negative)
    low, high = pairs[:, -7:], pairs[:, :-7]
    return _finish(ones + _weigh(_PAIR[low], 2, 1), _weigh(_PAIR[high], 2, 0), 15, digits, negative)


class Zoned:
    """The tables of zoned decimals in one character set: digits, and digits with a sign over them.

    EBCDIC: the zone is the sign, B and D are negative. ASCII: plain digits are positive; GnuCOBOL writes ``p`` to ``y``
    for negative ones, and with -fsign=EBCDIC, as a translated file has it, ``{ A…I`` and ``} J…R``. All are read.
    """

    def __init__(self, charset: Charset, *, overpunched: bool = False) -> None:
        """`overpunched`: in ASCII, signs are written as -fsign=EBCDIC does."""
        self.zero: Final = charset.encode("0")[0]
        self.plus, self.minus = charset.encode("+-")
        codes = np.arange(256)
        self.digit: Final = np.where((codes >= self.zero) & (codes < self.zero + 10), codes - self.zero, _NAN)
        self.signed: Final = self.digit.copy()
        self.negative: Final = np.zeros(256, np.bool_)
        positives, negatives = ["{ABCDEFGHI"], ["}JKLMNOPQR"]
        if charset.ebcdic:
            zones = [(zone << 4 | digit, digit, zone in (0xB, 0xD)) for zone in range(10, 16) for digit in range(10)]
        else:
            negatives.append("pqrstuvwxy")
            zones = [
                (charset.encode(char)[0], digit, minus)
                for minus, sets in ((False, positives), (True, negatives))
                for chars in sets
                for digit, char in enumerate(chars)
            ]
        for code, digit, minus in zones:
            self.signed[code], self.negative[code] = digit, minus
        if charset.ebcdic:
            self.write_plus, self.write_minus = (np.arange(zone, zone + 10, dtype=np.uint8) for zone in (0xC0, 0xD0))
        else:
            sets = ("{ABCDEFGHI", "}JKLMNOPQR") if overpunched else ("0123456789", "pqrstuvwxy")
            self.write_plus, self.write_minus = (np.frombuffer(charset.encode(chars), np.uint8) for chars in sets)

    def read(self, part: Array, digits: int, *, signed: bool, leading: bool, separate: bool) -> Numbers:
        if separate:
            sign, body = (part[:, 0], part[:, 1:]) if leading else (part[:, -1], part[:, :-1])
            negative = sign == self.minus
            values = self.digit[body]
            values[(sign != self.plus) & ~negative, -1] = _NAN
        else:
            at = 0 if leading else part.shape[1] - 1
            over = part[:, at]
            negative = self.negative[over]
            values = self.digit[part]
            values[:, at] = self.signed[over]
            if not signed:
                values[negative, at] = _NAN
        if digits <= _EXACT:
            return _finish(_weigh(values, 1, 0), None, 0, digits, negative)
        return _finish(_weigh(values[:, -15:], 1, 0), _weigh(values[:, :-15], 1, 0), 15, digits, negative)

    def write(self, values: Array, digits: int, *, signed: bool, leading: bool, separate: bool) -> Array:
        body = (_digits(np.abs(values), digits) + self.zero).astype(np.uint8)
        if not signed:
            return body
        negative = values < 0
        if separate:
            sign = np.where(negative, self.minus, self.plus).astype(np.uint8)[:, None]
            return np.hstack([sign, body] if leading else [body, sign])
        at = 0 if leading else digits - 1
        over = body[:, at] - self.zero
        body[:, at] = np.where(negative, self.write_minus[over], self.write_plus[over])
        return body


def _digits(values: Array, count: int) -> Array:
    """n whole numbers of at least 0 to [n, count] of their digits."""
    digits = np.empty((len(values), count), np.uint8)
    for at in range(count - 1, -1, -1):
        values, digits[:, at] = np.divmod(values, 10)
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
    bad = None if signed or part.shape[1] < 8 else _nowhere(found >= np.uint64(1 << 63))
    return found.astype(np.int64), bad


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
