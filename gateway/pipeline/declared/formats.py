"""The formats of records, as a stream's file names them: their settings, and the decoder or encoder that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta, Struct

from gateway.codecs.records.columns import Decoder, Encoder, Field, Kind
from gateway.core.errors import InvalidArgument
from gateway.core.signature import Signature


@dataclass(frozen=True, slots=True)
class Target:
    """What a format is made for.

    fields   what the decoder is to read
    folder   of the stream's file, which the files that it names are relative to
    """

    model: str
    signature: Signature
    fields: Sequence[Field]
    folder: Path


_Delimiter = Annotated[str, Meta(description="One ASCII character between two fields.")]
_Quote = Annotated[str, Meta(description="One ASCII character round a field that holds delimiters or line ends.")]
_Schema = Annotated[
    str, Meta(description="File with a JSON Schema; a record that does not meet it becomes a dead letter.")
]
_NotEmpty = Meta(min_length=1)
_Names = Annotated[
    Annotated[dict[str, str], _NotEmpty] | Annotated[tuple[str, ...], _NotEmpty],
    Meta(
        description="What is written: names of the record's fields, the model's outputs, `$model`, `$version`, or a"
        " mapping from the name to write to such a name; `probabilities[1]` is one element."
    ),
]
_Charset = Annotated[str, Meta(description="ascii, latin-1, or an EBCDIC code page such as cp037, cp500, cp1140.")]


class JsonDecode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One JSON object a record; `customer.age` is a field within one. `jsonl` is the same."""

    documents: ClassVar[bool] = True
    strict: Annotated[bool, Meta(description="Whether a number or boolean written as a string is an error.")] = True
    schema: _Schema = ""
    envelope: Annotated[
        Literal["", "connect", "debezium"],
        Meta(
            description="`connect`: a record is the `payload` of Kafka Connect's JSON with schema. `debezium`: it is"
            " the row `after` a change, with such a schema or without; deletions and tombstones are skipped."
        ),
    ] = ""
    tombstones: Annotated[
        Literal["dead letter", "skip"], Meta(description="What becomes of a record without value.")
    ] = "dead letter"

    def open(self, target: Target) -> Decoder:
        from gateway.codecs.records.json import JsonDecoder

        decoder: Decoder = JsonDecoder(target.fields, strict=self.strict)
        if self.schema:
            from gateway.codecs.records.schema import SchemaDecoder

            decoder = SchemaDecoder(decoder, _read(target, self.schema), self.schema)
        return self._unpacking(decoder)

    def _unpacking(self, decoder: Decoder) -> Decoder:
        if self.envelope or self.tombstones == "skip":
            from gateway.codecs.records.envelope import EnvelopeDecoder, Skipping

            if self.envelope:
                decoder = EnvelopeDecoder(decoder, self.envelope)
            if self.tombstones == "skip":
                decoder = Skipping(decoder)
        return decoder


class CsvDecode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line a record (RFC 4180)."""

    documents: ClassVar[bool] = False
    header: Annotated[tuple[str, ...], Meta(min_length=1, description="The names of a line's fields, in their order.")]
    delimiter: _Delimiter = ","
    quote: _Quote = '"'
    encoding: _Charset = "utf-8"

    def open(self, target: Target) -> Decoder:
        from gateway.codecs.records.csv import CsvDecoder

        return CsvDecoder(
            self.header, target.fields, delimiter=self.delimiter, quote=self.quote, encoding=self.encoding
        )


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
    encoding: _Charset = "ascii"
    pad: Annotated[bool, Meta(description="A record may be shorter: its end was cut off as blanks.")] = False

    def open(self, target: Target) -> Decoder:
        from gateway.codecs.records.fixed import FixedDecoder

        layout = _fixed(self.layout, self.length)
        return FixedDecoder(layout, target.fields, encoding=self.encoding, pad=self.pad)


class _Copybook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    copybook: Annotated[str, Meta(min_length=1, description="File with the COBOL text of the record.")]
    record: Annotated[str, Meta(description="Its item of level 01, where the copybook has several.")] = ""
    source: Annotated[
        Literal["auto", "fixed", "free"], Meta(description="Whether the text has COBOL's columns 1 to 72.")
    ] = "auto"
    replacing: Annotated[dict[str, str], Meta(description="What stands for which text, as in COPY … REPLACING.")] = {}
    slide: Annotated[
        bool, Meta(description="What follows a variable table lies right behind its last element, as on z/OS.")
    ] = True
    encoding: _Charset = "cp037"
    floats: Annotated[
        Literal["", "ibm", "ieee-big", "ieee-little"],
        Meta(description="COMP-1 and COMP-2. Empty: `ibm` in EBCDIC, else `ieee-little`."),
    ] = ""
    native: Annotated[
        Literal["", "big", "little"], Meta(description="COMP-5. Empty: `big` in EBCDIC, else `little`.")
    ] = ""
    overpunched: Annotated[bool, Meta(description="Signs in ASCII as GnuCOBOL's -fsign=EBCDIC writes them.")] = False
    blanks: Annotated[bool, Meta(description="A number of blanks alone is missing; else it is an error.")] = False

    def layout(self, target: Target) -> Any:
        from gateway.codecs.records.copybook.layout import RecordLayout

        return RecordLayout.read(
            _read(target, self.copybook).decode("utf-8", "replace"),
            record=self.record,
            format=self.source,
            replacing=self.replacing or None,
            slide=self.slide,
        )

    def conventions(self) -> Any:
        from gateway.codecs.records.copybook.form import Conventions

        return Conventions(self.encoding, self.floats, self.native, self.overpunched, self.blanks)


class CopybookDecode(_Copybook, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records of a COBOL copybook: PIC X, 9, S9, V, COMP to COMP-5, OCCURS, DEPENDING ON, REDEFINES."""

    documents: ClassVar[bool] = False

    def open(self, target: Target) -> Decoder:
        from gateway.codecs.records.copybook.decoder import CopybookDecoder

        return CopybookDecoder(self.layout(target), target.fields, self.conventions())


class ColumnsDecode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The columns of a database, as they are; records that come as bytes are JSON objects of the same fields."""

    documents: ClassVar[bool] = False

    def open(self, target: Target) -> Decoder:
        from gateway.codecs.records.table import TableDecoder

        return TableDecoder(target.fields)


class OipDecode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole infer request a record, as a REST client would post it: it names the inputs itself, `map` does not."""

    documents: ClassVar[bool] = False
    binary: ClassVar[bool] = False

    def open(self, target: Target) -> Decoder:
        from gateway.codecs.records.oip import OipDecoder

        return OipDecoder(target.model, target.signature, binary=self.binary)


class OipProtobufDecode(OipDecode, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same as the message ModelInferRequest of the gRPC API."""

    binary: ClassVar[bool] = True


class JsonEncode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One JSON object a record; `answer.score` writes a field within one. `jsonl` is the same."""

    fields: _Names

    def open(self, target: Target) -> Encoder:
        from gateway.codecs.records.jsonencoder import JsonEncoder

        return JsonEncoder(sources(self))


class CsvEncode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line a record, without a header."""

    fields: _Names
    delimiter: _Delimiter = ","
    quote: _Quote = '"'

    def open(self, target: Target) -> Encoder:
        from gateway.codecs.records.csv import CsvEncoder

        return CsvEncoder(sources(self), delimiter=self.delimiter, quote=self.quote)


class FixedEncode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields at their places; what does not fit is an error of its record."""

    fields: _Names
    layout: _Layout
    length: _Length = 0
    encoding: _Charset = "ascii"

    def open(self, target: Target) -> Encoder:
        from gateway.codecs.records.fixed import FixedEncoder

        return FixedEncoder(_fixed(self.layout, self.length), sources(self), encoding=self.encoding)


class CopybookEncode(_Copybook, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records of a COBOL copybook; fields that are not written are blank or zero."""

    fields: _Names

    def open(self, target: Target) -> Encoder:
        from gateway.codecs.records.copybook.encoder import CopybookEncoder

        return CopybookEncoder(self.layout(target), sources(self), self.conventions())


class ColumnsEncode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Columns, for a database; an output that takes bytes is given JSON objects."""

    fields: _Names

    def open(self, target: Target) -> Encoder:
        from gateway.codecs.records.table import TableEncoder

        return TableEncoder(sources(self))


class OipEncode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reply that REST would give, for streams that decode whole requests."""

    binary: ClassVar[bool] = False

    def open(self, target: Target) -> Encoder:
        from gateway.codecs.records.oip import OipEncoder

        return OipEncoder(target.model, target.signature, binary=self.binary)


class OipProtobufEncode(OipEncode, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same as the message ModelInferResponse of the gRPC API."""

    binary: ClassVar[bool] = True


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


def whole_requests(settings: Any) -> bool:
    """The records are infer requests: there is nothing to map."""
    return isinstance(settings, (OipDecode, OipEncode))


def sources(settings: Any) -> dict[str, str]:
    """What an encoder writes: the name in the result → where it comes from."""
    fields = getattr(settings, "fields", {})
    return dict(fields) if isinstance(fields, dict) else {name: name for name in fields}


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
            same = {name: getattr(encode, name) for name in _Copybook.__struct_fields__}
            decode = CopybookDecode(**same)
        case _:
            return None
    found: Decoder = decode.open(aside)
    return found


def _fixed(layout: dict[str, FixedField], length: int) -> Any:
    from gateway.codecs.records.fixed import FixedLayout, Place

    return FixedLayout(tuple(Place(name, at.start, at.width, at.scale) for name, at in layout.items()), length)


def _read(target: Target, name: str) -> bytes:
    """Raises InvalidArgument."""
    try:
        return (target.folder / name).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"file '{target.folder / name}' cannot be read: {error.strerror}") from error
