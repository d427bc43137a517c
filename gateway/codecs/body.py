"""Whole bodies: an infer request out of REST's bytes, and the reply's bytes out of a response.

A body is JSON, or JSON followed by the blobs of the tensors that carry ``binary_data_size``.
Format: Open Inference Protocol v2 with the binary tensor data, classification and shared memory extensions.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Final

import numpy as np
import orjson

from gateway.codecs.binary import Buffer, decode_raw, encode_raw
from gateway.codecs.classification import classify
from gateway.codecs.declared import check_shape, datatype_of
from gateway.codecs.json import (
    InferDocument,
    InputDocument,
    decode_data,
    decode_document,
    decode_floats,
    encode_data,
    quote,
)
from gateway.codecs.wishes import (
    PLAIN,
    RAW,
    Regions,
    ReplyForm,
    Shared,
    flag,
    read_outputs,
    read_parameters,
    read_shared,
    shared_of,
    whole,
    write_shared,
)
from gateway.core.errors import InvalidArgument
from gateway.core.infer import InferRequest, InferResponse
from gateway.core.signature import Signature
from gateway.core.tensor import BFLOAT16, NAME_OF, Array


def decode(
    body: Buffer, header_length: int | None, model: str, version: str, regions: Regions | None
) -> tuple[InferRequest, ReplyForm]:
    """`header_length` is the header Inference-Header-Content-Length, None where it is absent.

    Raises InvalidArgument naming the input or parameter, what was found and what was expected.
    """
    blobs = _NOTHING
    if header_length is None:
        floats = decode_floats(body)
        if floats is not None:
            return InferRequest(model, version, *floats), PLAIN
        document = decode_document(body)
    else:
        blobs = memoryview(body)[header_length:]
        document = decode_document(memoryview(body)[:header_length])
    inputs: dict[str, Array] = {}
    at = 0
    for item in document.inputs:
        if item.name in inputs:
            raise InvalidArgument(f"input '{item.name}' is given twice")
        if item.parameters is None:
            datatype = datatype_of(item.name, item.datatype)
            check_shape(item.name, item.shape)
            inputs[item.name] = decode_data(item.name, datatype, item.shape, item.data)
        else:
            inputs[item.name], at = _decode_input(item, blobs, at, regions)
    if at != len(blobs):
        raise InvalidArgument(f"unexpected additional input data: {len(blobs) - at} bytes after the last input")
    request = InferRequest(model, version, document.id, inputs)
    if document.parameters is None and document.outputs is None:
        return request, PLAIN
    return request, _read_wishes(document, request)


_NOTHING: Final = memoryview(b"")


def _decode_input(item: InputDocument, blobs: memoryview, at: int, regions: Regions | None) -> tuple[Array, int]:
    name = item.name
    datatype = datatype_of(item.name, item.datatype)
    check_shape(name, item.shape)
    parameters = item.parameters or {}
    size = whole(parameters, "binary_data_size", f"input '{name}'")
    shared = shared_of(parameters, f"input '{name}'")
    given = (size is not None) + (shared is not None) + bool(item.data)
    if given > 1:
        raise InvalidArgument(
            f"input '{name}' is given more than once: expected one of data, binary_data_size, shared_memory_region"
        )
    if shared is not None:
        return decode_raw(name, datatype, item.shape, read_shared(name, shared, regions)), at
    if size is None:
        return decode_data(name, datatype, item.shape, item.data), at
    blob = blobs[at : at + size]
    if len(blob) != size:
        raise InvalidArgument(
            f"unexpected size for input '{name}': {len(blob)} bytes are left, expecting binary_data_size {size}"
        )
    return decode_raw(name, datatype, item.shape, blob), at + size


def decode_bare(body: Buffer, model: str, version: str, signature: Signature) -> InferRequest:
    """The raw form, Inference-Header-Content-Length 0: the whole body is the model's one input, batch 1.

    BYTES: the body is the one element, without a length before it, and the input must be made for one, or for rows of
    one. As in Triton's InferenceRequest::Normalize, where a free dim 0 always counts rows.
    """
    if len(signature.inputs) != 1:
        raise InvalidArgument(
            f"a raw request needs a model with exactly one input, '{model}' has {len(signature.inputs)}"
        )
    (spec,) = signature.inputs.values()
    shape = list(spec.shape)
    if signature.batched:
        shape[0] = 1
    free = [axis for axis, size in enumerate(shape) if size < 0]
    if spec.datatype.name == "BYTES":
        if free not in ([], [0]) or abs(prod(shape)) != 1:
            raise InvalidArgument(f"a raw request needs an input of one element, '{spec.name}' is {list(spec.shape)}")
        body = len(body).to_bytes(4, "little") + bytes(body)
        shape = [abs(size) for size in shape]
    elif len(free) > 1:
        raise InvalidArgument(
            f"a raw request needs an input with at most one free dimension, '{spec.name}' is {list(spec.shape)}"
        )
    elif free:
        row = -prod(shape) * spec.datatype.itemsize
        if row <= 0 or len(body) % row:
            raise InvalidArgument(
                f"unexpected size for input '{spec.name}': {len(body)} bytes are no multiple of {max(row, 0)}"
            )
        shape[free[0]] = len(body) // row
    return InferRequest(model, version, "", {spec.name: decode_raw(spec.name, spec.datatype, shape, body)})


def _read_wishes(document: InferDocument, request: InferRequest) -> ReplyForm:
    """Parameters and requested outputs: into the request what the model needs, into the form what the reply needs."""
    parameters = document.parameters or {}
    read_parameters(parameters, request)
    form = RAW if flag(parameters, "binary_data_output", "the request", default=False) else PLAIN
    if not document.outputs:
        return form
    return read_outputs(((item.name, item.parameters) for item in document.outputs), form.default, request)


def encode(
    response: InferResponse, form: ReplyForm, signature: Signature, regions: Regions | None
) -> tuple[list[Buffer], int | None]:
    """The reply's body in pieces, and the length of its JSON where blobs follow it."""
    if form is PLAIN and (text := _plain(response)) is not None:
        return [text], None
    parts: list[bytes] = []
    blobs: list[Buffer] = []
    forms = form.outputs
    for name, array in response.outputs.items():
        wish = forms.get(name, form.default) if forms else form.default
        if wish.classes:
            array = classify(array, wish.classes, signature.outputs[name].labels, batched=signature.batched)
        top = _head(name, array.dtype.char) + _shape(array.shape)
        if wish.shared is not None:
            parts.append(top + _to_shared(name, array, wish.shared, regions))
        elif wish.binary:
            blob = encode_raw(array)
            blobs.append(blob)
            parts.append(top + b'"parameters":{"binary_data_size":%d}}' % len(blob))
        else:
            parts.append(top + b'"data":' + encode_data(name, array) + b"}")
    text = b"%b%b%b]}" % (
        b'{"id":%b,' % quote(response.id) if response.id else b"{",
        _answerer(response.model, response.version),
        b",".join(parts),
    )
    if not blobs:
        return [text], None
    return [text, *blobs], len(text)


def _plain(response: InferResponse) -> bytes | None:
    """The whole reply by one call of orjson. None where it cannot write all of it: strings, halves, numbers that are
    not finite (which it writes as null)."""
    outputs = []
    for name, array in response.outputs.items():
        datatype = _IN_JSON.get(array.dtype.char)
        if datatype is None:
            return None
        outputs.append({"name": name, "datatype": datatype, "shape": array.shape, "data": array.ravel()})
    document = {"model_name": response.model, "model_version": response.version, "outputs": outputs}
    if response.id:
        document = {"id": response.id, **document}
    text = orjson.dumps(document, None, orjson.OPT_SERIALIZE_NUMPY)
    return None if b"null" in text else text


#: one-character code of a dtype → the protocol's name, of what orjson writes as JSON has it
_IN_JSON: Final = {dtype.char: name for dtype, name in NAME_OF.items() if dtype.char not in "eOV"}

# what is the same in each reply of a model is made once


@lru_cache(maxsize=4096)
def _answerer(model: str, version: str) -> bytes:
    return b'"model_name":%b,"model_version":%b,"outputs":[' % (quote(model), quote(version))


@lru_cache(maxsize=4096)
def _head(name: str, code: str) -> bytes:
    """`code` is the dtype's one-character code; that of a record can only be BF16's."""
    dtype = BFLOAT16 if code == "V" else np.dtype(code)
    return b'{"name":%b,"datatype":"%b","shape":' % (quote(name), NAME_OF[dtype].encode())


@lru_cache(maxsize=4096)
def _shape(shape: tuple[int, ...]) -> bytes:
    return b"[%b]," % b",".join(b"%d" % size for size in shape)


def _to_shared(name: str, array: Array, shared: Shared, regions: Regions | None) -> bytes:
    size = write_shared(name, array, shared, regions)
    return b'"parameters":{"shared_memory_region":%b,"shared_memory_offset":%d,"shared_memory_byte_size":%d}}' % (
        quote(shared.region),
        shared.offset,
        size,
    )
