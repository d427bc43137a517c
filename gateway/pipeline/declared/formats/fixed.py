"""Every field at its place in a record."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from gateway.codecs.records.columns import Decoder, Encoder
from gateway.pipeline.declared.formats.names import Names, sources
from gateway.pipeline.declared.formats.target import Target
from gateway.pipeline.declared.formats.text import Charset


class FixedField(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A field of a fixed-width record."""

    start: Annotated[int, Meta(ge=0, description="Its first character, counted from 0.")]
    width: Annotated[int, Meta(ge=1, description="Its characters.")]
    scale: Annotated[int, Meta(ge=0, le=18, description="Decimals that are implied: `00150` is 1.50 with 2.")] = 0


_Layout = Annotated[dict[str, FixedField], Meta(min_length=1, description="Each field's place, by its name.")]
_Length = Annotated[int, Meta(ge=0, description="Characters of a record. 0: up to the end of its last field.")]


class FixedDecode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records of single-byte characters with every field at its place."""

    documents: ClassVar[bool] = False
    layout: _Layout
    length: _Length = 0
    encoding: Charset = "ascii"
    pad: Annotated[bool, Meta(description="A record may be shorter: its end was cut off as blanks.")] = False

    def open(self, target: Target) -> Decoder:
        from gateway.codecs.records.fixed import FixedDecoder

        layout = _fixed(self.layout, self.length)
        return FixedDecoder(layout, target.fields, encoding=self.encoding, pad=self.pad)


class FixedEncode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields at their places; what does not fit is an error of its record."""

    fields: Names
    layout: _Layout
    length: _Length = 0
    encoding: Charset = "ascii"

    def open(self, target: Target) -> Encoder:
        from gateway.codecs.records.fixed import FixedEncoder

        return FixedEncoder(_fixed(self.layout, self.length), sources(self), encoding=self.encoding)


def _fixed(layout: dict[str, FixedField], length: int) -> Any:
    from gateway.codecs.records.fixed import FixedLayout, Place

    return FixedLayout(tuple(Place(name, at.start, at.width, at.scale) for name, at in layout.items()), length)
