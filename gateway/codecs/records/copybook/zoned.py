"""Zoned decimals: see `digits` for the contract.

Source: Enterprise COBOL for z/OS Programming Guide, "Formats for numeric data"; for ASCII the GnuCOBOL manual,
"-fsign".
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from gateway.codecs.records.charset import Charset, charset
from gateway.codecs.records.copybook.digits import Numbers, split_digits, sum_digits
from gateway.core.tensor import Array

#: where a byte is no digit: any number above 9
_NONE: Final = 255


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
        return sum_digits(values, False, digits, negative), bad

    def write(self, values: Array, digits: int, *, signed: bool, leading: bool, separate: bool) -> Array:
        body = split_digits(np.abs(values), digits)
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


def read_national(part: Array, digits: int, *, signed: bool, leading: bool) -> Numbers:
    """A national decimal: the digits, and the sign apart from them, as two bytes each (UTF-16, big-endian)."""
    high, low = part[:, ::2], np.ascontiguousarray(part[:, 1::2])
    values, bad = _national().read(low, digits, signed=signed, leading=leading, separate=signed)
    wide: Array = np.any(high, axis=1)
    if not signed:
        wide |= low[:, -1] - np.uint8(ord("0")) > 9  # a sign over a digit is none here
    if not wide.any():
        return values, bad
    wrong: Array = wide if bad is None else np.logical_or(wide, bad)
    return values, wrong


def write_national(values: Array, digits: int, *, signed: bool, leading: bool) -> Array:
    low = _national().write(values, digits, signed=signed, leading=leading, separate=signed)
    wide = np.zeros((len(low), 2 * low.shape[1]), np.uint8)
    wide[:, 1::2] = low
    return wide


@lru_cache(maxsize=1)
def _national() -> Zoned:
    return Zoned(charset("ascii"))
