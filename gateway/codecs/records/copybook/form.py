"""How the bytes of a leaf are read and written under one set of conventions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from gateway.codecs.records.charset import Charset, charset
from gateway.codecs.records.copybook import floating, packed
from gateway.codecs.records.copybook.binary import bounds, read_binary, write_binary
from gateway.codecs.records.copybook.digits import Numbers
from gateway.codecs.records.copybook.floating import Floats
from gateway.codecs.records.copybook.item import Usage
from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.codecs.records.copybook.leaf import Leaf
from gateway.codecs.records.copybook.zoned import Zoned, read_national, write_national
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import Array

_NAMES: Final = {
    Usage.PACKED: "packed decimal",
    Usage.UNSIGNED_PACKED: "packed decimal",
    Usage.DISPLAY: "zoned decimal",
    Usage.NATIONAL: "national decimal",
}
#: those whose sign is told apart
_DECIMAL: Final = frozenset(_NAMES)
_ASCII_DIGITS: Final = frozenset(b"0123456789+-{}ABCDEFGHIJKLMNOPQRpqrstuvwxy")
_EBCDIC_DIGITS: Final = frozenset("0123456789+-{}ABCDEFGHIJKLMNOPQR".encode("cp037"))
#: what a translation from EBCDIC puts for bytes without a character: SUB in ASCII, ? and U+FFFD in UTF-8
_SUBSTITUTES: Final = frozenset(b"\x1a\x3f\xef\xbf\xbd")


@dataclass(frozen=True)
class Conventions:
    """What a copybook does not say.

    encoding      of text and zoned numbers: cp037, cp500, cp1140… or ascii
    floats        COMP-1 and COMP-2; "" is ``ibm`` where the encoding is EBCDIC, else ``ieee-little``
    native        byte order of COMP-5; "" is ``big`` where the encoding is EBCDIC, else ``little``
    overpunched   in ASCII: write signs as GnuCOBOL's -fsign=EBCDIC does
    blanks        a number of blanks, LOW-VALUES or HIGH-VALUES alone is missing; else it is an error. Text may end with
                  LOW-VALUES as with blanks
    """

    encoding: str = "cp037"
    floats: Floats | str = ""
    native: str = ""
    overpunched: bool = False
    blanks: bool = False

    def __post_init__(self) -> None:
        if self.floats not in ("", "ibm", "ieee-big", "ieee-little"):
            raise InvalidArgument(f"floats are '{self.floats}', expected ibm, ieee-big or ieee-little")
        if self.native not in ("", "big", "little"):
            raise InvalidArgument(f"the byte order of COMP-5 is '{self.native}', expected big or little")
        _ = self.charset

    @cached_property
    def charset(self) -> Charset:
        return charset(self.encoding)

    @cached_property
    def zoned(self) -> Zoned:
        return Zoned(self.charset, overpunched=self.overpunched)

    @cached_property
    def _floats(self) -> Floats:
        if self.floats == "ibm" or (not self.floats and self.charset.ebcdic):
            return "ibm"
        return "ieee-big" if self.floats == "ieee-big" else "ieee-little"

    def _order(self, usage: Usage) -> str:
        if usage in (Usage.BINARY, Usage.FULL):
            return ">"
        return ">" if self.native == "big" or (not self.native and self.charset.ebcdic) else "<"

    def read(self, leaf: Leaf, part: Array) -> Numbers:
        """[n, width] to n unscaled numbers and where there are none: see `digits`."""
        digits, signed = leaf.picture.digits, leaf.picture.signed
        match leaf.usage:
            case Usage.DISPLAY:
                return self.zoned.read(part, digits, signed=signed, leading=leaf.leading, separate=leaf.separate)
            case Usage.NATIONAL:
                return read_national(part, digits, signed=signed, leading=leaf.leading)
            case Usage.PACKED:
                return packed.read_packed(part, digits, signed=signed)
            case Usage.UNSIGNED_PACKED:
                return packed.read_unsigned(part, digits)
            case Usage.FLOAT | Usage.DOUBLE:
                return floating.read_float(part, self._floats)
            case _:
                return read_binary(part, signed=signed, order=self._order(leaf.usage))

    def write(self, leaf: Leaf, values: Array) -> Array:
        """n numbers, int64 and unscaled but for floats, to [n, width]."""
        written = self._written(leaf, values)
        if leaf.blank_zero:
            written[values == 0] = self._space(leaf)
        return written

    def _written(self, leaf: Leaf, values: Array) -> Array:
        digits, signed = leaf.picture.digits, leaf.picture.signed
        match leaf.usage:
            case Usage.DISPLAY:
                return self.zoned.write(values, digits, signed=signed, leading=leaf.leading, separate=leaf.separate)
            case Usage.NATIONAL:
                return write_national(values, digits, signed=signed, leading=leaf.leading)
            case Usage.PACKED:
                return packed.write_packed(values, digits, signed=signed)
            case Usage.UNSIGNED_PACKED:
                return packed.write_unsigned(values, digits)
            case Usage.FLOAT | Usage.DOUBLE:
                return floating.write_float(values, leaf.width, self._floats)
            case _:
                return write_binary(values, leaf.width, order=self._order(leaf.usage))

    def bounds(self, leaf: Leaf) -> tuple[float, float]:
        """No number below or above them can be written; whole and unscaled for those with digits."""
        if leaf.usage.floating:
            most = floating.largest_float(leaf.width, self._floats)
            return -most, most
        if leaf.usage.binary and leaf.usage is not Usage.BINARY:
            return bounds(leaf.width, signed=leaf.picture.signed)
        whole: int = 10 ** min(leaf.picture.digits, 18) - 1
        return (-whole if leaf.picture.signed else 0), whole

    def is_blank(self, leaf: Leaf, part: Array) -> Array:
        """[n, width] → which of them are blanks and nothing else."""
        blank: Array = (part == self._space(leaf)).all(axis=1)
        return blank

    def is_unset(self, leaf: Leaf, part: Array) -> Array:
        """[n, width] → which of them no number was ever moved to: blanks, LOW-VALUES or HIGH-VALUES."""
        same = (part == part[:, :1]).all(axis=1) & ((part[:, 0] == 0) | (part[:, 0] == 0xFF))
        unset: Array = same | self.is_blank(leaf, part)
        return unset

    def blank(self, leaf: Leaf) -> bytes:
        """What a leaf holds that nothing was written to: blanks, or zero."""
        if not leaf.numeric:
            return self._space(leaf).tobytes()
        kind = np.float64 if leaf.usage.floating else np.int64
        return self.write(leaf, np.zeros(1, kind)).tobytes()

    def _space(self, leaf: Leaf) -> Array:
        """A blank leaf, [width]."""
        if leaf.picture.national:
            return np.frombuffer(" ".encode("utf-16-be") * (leaf.width // 2), np.uint8)
        return np.full(leaf.width, self.charset.space, np.uint8)

    def empty(self, layout: RecordLayout, counts: tuple[int, ...]) -> Array:
        """A record to which nothing was written; of what is redefined, in its first meaning."""
        place = layout.place(counts)
        record = np.full(place.size, self.charset.space, np.uint8)
        for leaf in layout.leaves:
            if not leaf.redefines:
                starts = place.starts[leaf.order].reshape(-1)
                bytes_of = starts[starts >= 0][:, None] + np.arange(leaf.width)
                record[bytes_of] = np.frombuffer(self.blank(leaf), np.uint8)
        return record

    def reason(self, leaf: Leaf, data: bytes) -> str:
        signed = "" if leaf.picture.signed or leaf.usage not in _DECIMAL else "an unsigned "
        kind = f"{signed or 'a '}{_NAMES.get(leaf.usage, 'binary number')}"
        return f"holds {data[:32].hex()}, which is not {kind} of {leaf.picture.digits} digits{self.hint(leaf, data)}"

    def hint(self, leaf: Leaf, data: bytes) -> str:
        """What is likely to be wrong with these bytes that are no number, to be added to the reason."""
        likely = self._likely(leaf, data)
        return f": {likely}" if likely else ""

    def _likely(self, leaf: Leaf, data: bytes) -> str:
        if not data.strip(b"\0") or not data.strip(b"\xff"):
            return "`blanks: true` reads LOW-VALUES and HIGH-VALUES as missing"
        if not data.strip(b"\x40") or not data.strip(b" "):
            ours = data[0] == self.charset.space
            return "`blanks: true` reads blanks as missing" if ours else f"these are blanks, but not in {self.encoding}"
        if leaf.usage is Usage.DISPLAY:
            if self.charset.ebcdic and _ASCII_DIGITS.issuperset(data):
                return f"these are digits in ASCII, and the encoding is {self.encoding}"
            if not self.charset.ebcdic and _EBCDIC_DIGITS.issuperset(data):
                return f"these are digits in EBCDIC, and the encoding is {self.encoding}: is it cp037, cp500 or cp1140?"
        if leaf.usage in (Usage.PACKED, Usage.UNSIGNED_PACKED) and _SUBSTITUTES.intersection(data):
            return "was the file sent as text, which changes all that is not text? Send it in binary mode"
        return ""
