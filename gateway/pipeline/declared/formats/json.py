"""One JSON object a record."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from gateway.codecs.records.columns import Decoder, Encoder
from gateway.pipeline.declared.formats.names import Names, sources
from gateway.pipeline.declared.formats.target import Target

_Schema = Annotated[
    str, Meta(description="File with a JSON Schema; a record that does not meet it becomes a dead letter.")
]


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
    within: Annotated[
        str,
        Meta(
            description="The field, of the row or of what is in the envelope, that holds the record: JSON as a text, as"
            " the payload of an outbox is, or an object."
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

            decoder = SchemaDecoder(decoder, target.read(self.schema), self.schema)
        return self._unpacking(decoder)

    def _unpacking(self, decoder: Decoder) -> Decoder:
        if self.within:
            from gateway.codecs.records.within import WithinDecoder

            decoder = WithinDecoder(decoder, self.within)
        if self.envelope:
            from gateway.codecs.records.envelope import EnvelopeDecoder

            decoder = EnvelopeDecoder(decoder, self.envelope)
        if self.tombstones == "skip":
            from gateway.codecs.records.skipping import Skipping

            decoder = Skipping(decoder)
        return decoder


class JsonEncode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One JSON object a record; `answer.score` writes a field within one. `jsonl` is the same."""

    fields: Names

    def open(self, target: Target) -> Encoder:
        from gateway.codecs.records.jsonencoder import JsonEncoder

        return JsonEncoder(sources(self))
