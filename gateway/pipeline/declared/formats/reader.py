"""Takes apart what an encoder wrote, so that it can be compared."""

from __future__ import annotations

from typing import Any

from gateway.codecs.records.columns import Decoder, Field, Kind
from gateway.pipeline.declared.formats.copybook import Copybook, CopybookDecode, CopybookEncode
from gateway.pipeline.declared.formats.csv import CsvDecode, CsvEncode
from gateway.pipeline.declared.formats.fixed import FixedDecode, FixedEncode
from gateway.pipeline.declared.formats.names import sources
from gateway.pipeline.declared.formats.target import Target


def reader(encode: Any, target: Target) -> Decoder | None:
    """What reads the fields of what an encoder wrote; None where that is JSON."""
    layout = getattr(encode, "layout", {})
    scaled = {name for name in sources(encode) if isinstance(encode, FixedEncode) and layout[name].scale}
    fields = [Field(name, Kind.NUMBER if name in scaled else Kind.ANY) for name in sources(encode)]
    aside = Target(target.model, target.signature, fields, target.folder)
    match encode:
        case CsvEncode():
            decode: Any = CsvDecode(header=tuple(sources(encode)), delimiter=encode.delimiter, quote=encode.quote)
        case FixedEncode():
            decode = FixedDecode(layout=encode.layout, length=encode.length, encoding=encode.encoding)
        case CopybookEncode():
            same = {name: getattr(encode, name) for name in Copybook.__struct_fields__}
            decode = CopybookDecode(**same)
        case _:
            return None
    found: Decoder = decode.open(aside)
    return found
