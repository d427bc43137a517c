"""One line a record, its fields between delimiters."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from gateway.codecs.records.columns import Decoder, Encoder
from gateway.pipeline.declared.formats.names import Names, sources
from gateway.pipeline.declared.formats.target import Target
from gateway.pipeline.declared.formats.text import Charset, Delimiter, Quote


class CsvDecode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line a record (RFC 4180)."""

    documents: ClassVar[bool] = False
    header: Annotated[tuple[str, ...], Meta(min_length=1, description="The names of a line's fields, in their order.")]
    delimiter: Delimiter = ","
    quote: Quote = '"'
    encoding: Charset = "utf-8"

    def open(self, target: Target) -> Decoder:
        from gateway.codecs.records.csv import CsvDecoder

        return CsvDecoder(
            self.header, target.fields, delimiter=self.delimiter, quote=self.quote, encoding=self.encoding
        )


class CsvEncode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line a record, without a header."""

    fields: Names
    delimiter: Delimiter = ","
    quote: Quote = '"'

    def open(self, target: Target) -> Encoder:
        from gateway.codecs.records.csv import CsvEncoder

        return CsvEncoder(sources(self), delimiter=self.delimiter, quote=self.quote)
