"""The columns of a database."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from gateway.codecs.records.columns import Decoder, Encoder
from gateway.pipeline.declared.formats.names import Names, sources
from gateway.pipeline.declared.formats.target import Target


class ColumnsDecode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The columns of a database, as they are; records that come as bytes are JSON objects of the same fields."""

    documents: ClassVar[bool] = False

    def open(self, target: Target) -> Decoder:
        from gateway.codecs.records.table import TableDecoder

        return TableDecoder(target.fields)


class ColumnsEncode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Columns, for a database; an output that takes bytes is given JSON objects."""

    fields: Names

    def open(self, target: Target) -> Encoder:
        from gateway.codecs.records.table import TableEncoder

        return TableEncoder(sources(self))
