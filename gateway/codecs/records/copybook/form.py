"""How the bytes of a leaf are read and written under one set of conventions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from gateway.codecs.records.charset import Charset, charset
from gateway.codecs.records.copybook import numeric
from gateway.codecs.records.copybook.layout import Leaf, RecordLayout
from gateway.codecs.records.copybook.numeric import Floats, Numbers, Zoned
from gateway.codecs.records.copybook.parser import Usage
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import Array

_NAMES: Final = {
    Usage.PACKED: "packed decimal",
    Usage.DISPLAY: "zoned decimal",
    Usage.BINARY: "binary number",
    Usage.NATIVE: "binary number",
}


@dataclass(frozen=True)
class Conventions:
    """What a copybook does not say.

    encoding      of text and zoned numbers: cp037, cp500, cp1140… or ascii
    floats        COMP-1 and COMP-2; "" is ``ibm`` where the encoding is EBCDIC, else ``ieee-little``
    native        byte order of COMP-5; "" is ``big`` where the encoding is EBCDIC, else ``little``
    overpunched   in ASCII: write signs as GnuCOBOL's -fsign=EBCDIC does
    blanks        a number of blanks alone is missing; else it is an error
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
        if usage is Usage.BINARY:
            return ">"
        return ">" if self.native == "big" or (not self.native and self.charset.ebcdic) else "<"

    def read(self, leaf: Leaf, part: Array) -> Numbers:
        """[n, width] to n unscaled numbers and where there are none: see `numeric`."""
        picture = leaf.picture
        match leaf.usage:
            case Usage.DISPLAY:
                return self.zoned.read(
                    part, picture.digits, signed=picture.signed, leading=leaf.leading, separate=leaf.separate
                )
            case Usage.PACKED:
                return numeric.read_packed(part, picture.digits, signed=picture.signed)
            case Usage.BINARY | Usage.NATIVE:
                return numeric.read_binary(part, signed=picture.signed, order=self._order(leaf.usage))
            case _:
                return numeric.read_float(part, self._floats)

    def write(self, leaf: Leaf, values: Array) -> Array:
        """n numbers, int64 and unscaled but for floats, to [n, width]."""
        picture = leaf.picture
        match leaf.usage:
            case Usage.DISPLAY:
                return self.zoned.write(
                    values, picture.digits, signed=picture.signed, leading=leaf.leading, separate=leaf.separate
                )
            case Usage.PACKED:
                return numeric.write_packed(values, picture.digits, signed=picture.signed)
            case Usage.BINARY | Usage.NATIVE:
                return numeric.write_binary(values, leaf.width, order=self._order(leaf.usage))
            case _:
                return numeric.write_float(values, leaf.width, self._floats)

    def largest(self, leaf: Leaf) -> float:
        """No number beyond it can be written, unscaled for those with digits."""
        picture = leaf.picture
        if leaf.usage in (Usage.FLOAT, Usage.DOUBLE):
            return numeric.largest_float(leaf.width, self._floats)
        return 10.0 ** min(picture.digits, 18) - 1

    def blank(self, leaf: Leaf) -> bytes:
        """What a leaf holds that nothing was written to: blanks, or zero."""
        if leaf.picture.national:
            return " ".encode("utf-16-be") * leaf.picture.size
        if not leaf.numeric:
            return bytes([self.charset.space]) * leaf.width
        kind = np.float64 if leaf.usage in (Usage.FLOAT, Usage.DOUBLE) else np.int64
        return self.write(leaf, np.zeros(1, kind)).tobytes()

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
        signed = "" if leaf.picture.signed or leaf.usage not in (Usage.DISPLAY, Usage.PACKED) else "an unsigned "
        kind = f"{signed or 'a '}{_NAMES.get(leaf.usage, 'number')}"
        return f"holds {data[:32].hex()}, which is not {kind} of {leaf.picture.digits} digits"
