"""PICTURE character strings. Source: Enterprise COBOL for z/OS Language Reference, "PICTURE clause"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gateway.core.errors import InvalidArgument

_REPEATED: Final = re.compile(r"(.)\((\d{1,6})\)")
_NUMERIC: Final = re.compile(r"(S?)(P*)(9*)(?:V(P*)(9*))?(P*)")
_EDITED: Final = re.compile(r"[ABX90PVZ*+,./$£€-]+(?:CR|DB)?[+-]?")
#: a number that is shown: no letters, and at least one place for a digit
_SHOWN: Final = re.compile(r"(?=.*(?:[9Z*]|[+$£€-]{2}))[B90PVZ*+,./$£€-]+(?:CR|DB)?[+-]?")
#: what a record of 18 MB would need; more is a mistyped copybook
MAX_SIZE: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Picture:
    """`size` in characters of storage without a separate sign.

    numeric   digits stand in it, and it has a value: else it is text, as an edited number is
    scale     decimals behind the point that is not stored; negative where zeros before it are not
    national  two bytes a character
    edited    text that shows a number, ``ZZ9.99-``
    """

    size: int
    numeric: bool = False
    signed: bool = False
    digits: int = 0
    scale: int = 0
    national: bool = False
    edited: bool = False


def parse_picture(text: str) -> Picture:
    """Raises InvalidArgument."""
    upper = text.upper()
    total = sum(int(count) for _, count in _REPEATED.findall(upper))
    if total > MAX_SIZE or len(upper) > 1000:
        raise InvalidArgument(f"PICTURE '{text}' is longer than {MAX_SIZE} characters")
    symbols = _REPEATED.sub(lambda found: found[1] * int(found[2]), upper)
    found = _NUMERIC.fullmatch(symbols)
    if found is not None and "9" in symbols:
        sign, left, whole, inner, behind, right = (part or "" for part in found.groups())
        return _number(text, sign, left, whole, inner, behind, right, point="V" in symbols)
    if symbols and set(symbols) == {"N"}:
        return Picture(len(symbols), national=True)
    if not symbols or _EDITED.fullmatch(symbols) is None:
        raise InvalidArgument(f"PICTURE '{text}' is not understood: expected X, A, 9, S, V, P, N or an edited number")
    size = len(symbols) - symbols.count("V") - symbols.count("P")
    if size < 1:
        raise InvalidArgument(f"PICTURE '{text}' has no characters that are stored")
    return Picture(size, edited=_SHOWN.fullmatch(symbols) is not None)


def _number(
    text: str, sign: str, left: str, whole: str, inner: str, behind: str, right: str, *, point: bool
) -> Picture:
    """`left` PPP99 and V`inner` VPP99 move the point to the left, `right` 99PPP to the right."""
    digits = len(whole) + len(behind)
    if (left or inner) and (right or (whole and inner)):
        raise InvalidArgument(f"PICTURE '{text}' has a P on both sides of its digits, or between them")
    if left or inner:
        scale = len(left) + len(inner) + digits
    elif right:
        if point and behind:
            raise InvalidArgument(f"PICTURE '{text}' has a P behind its decimals")
        scale = -len(right)
    else:
        scale = len(behind)
    if digits > 31:
        raise InvalidArgument(f"PICTURE '{text}' has {digits} digits, expected at most 31")
    return Picture(digits, True, sign == "S", digits, scale)
