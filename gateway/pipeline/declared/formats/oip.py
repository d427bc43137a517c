"""Records that are requests of the Open Inference Protocol themselves."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct

from gateway.codecs.records.columns import Decoder, Encoder
from gateway.pipeline.declared.formats.target import Target


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


class OipEncode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reply that REST would give, for streams that decode whole requests."""

    binary: ClassVar[bool] = False

    def open(self, target: Target) -> Encoder:
        from gateway.codecs.records.oip import OipEncoder

        return OipEncoder(target.model, target.signature, binary=self.binary)


class OipProtobufEncode(OipEncode, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same as the message ModelInferResponse of the gRPC API."""

    binary: ClassVar[bool] = True


def whole_requests(settings: Any) -> bool:
    """The records are infer requests: there is nothing to map."""
    return isinstance(settings, (OipDecode, OipEncode))
