"""The formats of records, as a stream's file names them: their settings, and the decoder or encoder that they make."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from gateway.pipeline.declared.formats.columns import ColumnsDecode, ColumnsEncode
from gateway.pipeline.declared.formats.copybook import CopybookDecode, CopybookEncode
from gateway.pipeline.declared.formats.csv import CsvDecode, CsvEncode
from gateway.pipeline.declared.formats.fixed import FixedDecode, FixedEncode
from gateway.pipeline.declared.formats.json import JsonDecode, JsonEncode
from gateway.pipeline.declared.formats.names import sources
from gateway.pipeline.declared.formats.oip import (
    OipDecode,
    OipEncode,
    OipProtobufDecode,
    OipProtobufEncode,
    whole_requests,
)
from gateway.pipeline.declared.formats.reader import reader
from gateway.pipeline.declared.formats.target import Target

__all__ = ["DECODE", "ENCODE", "Target", "reader", "sources", "whole_requests"]

DECODE: Final[dict[str, type[Struct]]] = {
    "json": JsonDecode,
    "jsonl": JsonDecode,
    "csv": CsvDecode,
    "fixed": FixedDecode,
    "copybook": CopybookDecode,
    "columns": ColumnsDecode,
    "oip-json": OipDecode,
    "oip-protobuf": OipProtobufDecode,
}
ENCODE: Final[dict[str, type[Struct]]] = {
    "json": JsonEncode,
    "jsonl": JsonEncode,
    "csv": CsvEncode,
    "fixed": FixedEncode,
    "copybook": CopybookEncode,
    "columns": ColumnsEncode,
    "oip-json": OipEncode,
    "oip-protobuf": OipProtobufEncode,
}
