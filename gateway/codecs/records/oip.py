"""Whole infer requests as records: what a client would post to REST is a message, and so is the reply.

Formats: Open Inference Protocol v2, "Inference Request JSON Object", JSON alone, since a message has no header that
would say where binary tensors begin; and the message ModelInferRequest of its gRPC API.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from gateway.codecs import body, protobuf
from gateway.codecs.records.columns import MODEL, TOMBSTONE, VERSION, Columns, Encoded, objects, pick
from gateway.codecs.wishes import ReplyForm
from gateway.core.errors import InvalidArgument, SluiceError, Unsupported
from gateway.core.infer import InferRequest, InferResponse
from gateway.core.signature import Signature
from gateway.core.tensor import Array

#: the columns of a request's id, and of how its reply is to be written
_ID: Final = "$id"
_FORM: Final = "$form"


class OipDecoder:
    """A record may have several rows of the model's inputs: `Columns.counts` says how many.

    binary  records are protobuf messages, else JSON
    """

    def __init__(self, model: str, signature: Signature, *, binary: bool = False) -> None:
        """Raises Unsupported where requests to the model cannot be scored together."""
        if signature.ragged or not signature.batched:
            raise Unsupported(f"requests to model '{model}' cannot be records: its rows cannot be scored together")
        self._model: Final = model
        self._signature: Final = signature
        self._binary: Final = binary

    def decode(self, values: Sequence[bytes | None]) -> Columns:
        counts = np.zeros(len(values), np.int64)
        columns = Columns(len(values), {}, counts=counts)
        requests: list[InferRequest] = []
        forms: list[ReplyForm] = []
        for row, value in enumerate(values):
            if value is None:
                columns.blame(row, TOMBSTONE)
                continue
            try:
                request, form = self._request(value)
            except SluiceError as error:
                columns.blame(row, error.message)
                continue
            counts[row] = request.rows
            requests.append(request)
            forms.append(form)
        self._join(columns, requests, forms)
        return columns

    def _request(self, value: bytes) -> tuple[InferRequest, ReplyForm]:
        if self._binary:
            request, form = protobuf.decode(value)
        else:
            request, form = body.decode(value, None, self._model, "", None)
        if request.model not in ("", self._model):
            raise InvalidArgument(f"the request is for model '{request.model}', expected '{self._model}' or none")
        if request.version:
            raise InvalidArgument(f"the request asks for version '{request.version}', which the stream decides")
        for wish in (form.default, *form.outputs.values()):
            if wish.shared is not None or (wish.binary and not self._binary):
                raise Unsupported("binary and shared memory outputs are for requests, not for records")
        request.rows = self._signature.check(request.inputs)
        self._signature.check_outputs(request.outputs)
        if not request.rows:
            raise InvalidArgument("the request has no rows")
        return request, form

    def _join(self, columns: Columns, requests: list[InferRequest], forms: list[ReplyForm]) -> None:
        repeats = np.array([request.rows for request in requests], np.intp)
        for spec in self._signature.inputs.values():
            parts = [request.inputs[spec.name] for request in requests]
            empty = np.empty((0, *spec.shape[1:]), spec.datatype.dtype)
            columns.fields[spec.name] = np.concatenate(parts) if parts else empty
        columns.fields[_ID] = objects([request.id for request in requests]).repeat(repeats)
        columns.fields[_FORM] = objects([(form, r.outputs) for form, r in zip(forms, requests, strict=True)]).repeat(
            repeats
        )

    def inputs(self, columns: Columns) -> dict[str, Array]:
        """The model's inputs, [n, …] of all rows of the records that are not at fault."""
        return {name: columns.fields[name] for name in self._signature.inputs}


class OipEncoder:
    """Replies as REST writes them: the outputs that the request asked for in its form, the version that answered."""

    def __init__(self, model: str, signature: Signature, *, binary: bool = False) -> None:
        self._model: Final = model
        self._signature: Final = signature
        self._binary: Final = binary

    def encode(self, columns: Columns) -> Encoded:
        """`columns` has the outputs, and the version that answered in the column `VERSION`."""
        names = self._signature.output_names
        outputs = {name: pick(columns, name)[0] for name in names}
        ids, forms, versions = (columns.fields[name] for name in (_ID, _FORM, VERSION))
        models = columns.fields.get(MODEL)
        values: list[bytes] = []
        encoded = Encoded(values)
        counts = np.ones(columns.rows, np.int64) if columns.counts is None else columns.counts
        begin = 0
        for row, count in enumerate(counts.tolist()):
            form, wanted = forms[begin]
            response = InferResponse(
                self._model if models is None else models[begin],
                versions[begin],
                ids[begin],
                {name: outputs[name][begin : begin + count] for name in wanted or names},
            )
            try:
                values.append(self._value(response, form))
            except SluiceError as error:
                encoded.errors[row] = error.message
                values.append(b"")
            begin += count
        return encoded

    def _value(self, response: InferResponse, form: ReplyForm) -> bytes:
        if self._binary:
            return b"".join(protobuf.encode(response, form, self._signature, None))
        parts, _ = body.encode(response, form, self._signature, None)
        return b"".join(parts)
