"""Infer requests out of protobuf's bytes, and replies into them: ModelInferRequest, ModelInferResponse and
ModelStreamInferResponse of protos/grpc_service.proto.

A request is parsed by protobuf, but for the raw tensors of a large one, which are views of the bytes received: protobuf
copies them twice. A reply is written by hand: what is the same in each reply of a model is made once, and its tensors
are copied once, into the message. Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from math import prod
from typing import Any, Final

import numpy as np

from gateway import pb
from gateway.codecs.binary import Buffer, decode_raw, encode_raw, strings
from gateway.codecs.classification import classify
from gateway.codecs.declared import check_shape, datatype_of
from gateway.codecs.layout import LONGEST, Layouts
from gateway.codecs.wishes import (
    RAW,
    Regions,
    ReplyForm,
    Shared,
    read_outputs,
    read_parameters,
    read_shared,
    shared_of,
    write_shared,
)
from gateway.core.errors import InvalidArgument, TooLarge
from gateway.core.infer import InferRequest, InferResponse, Parameters
from gateway.core.signature import Signature
from gateway.core.tensor import BFLOAT16, NAME_OF, STRING, Array, DataType

#: bytes of a message from which on its raw tensors are not given to protobuf
LARGE: Final = 16 << 10
#: fields of a message that are looked at one by one; one with more is protobuf's alone
_MOST_FIELDS: Final = 4096
#: bytes of an output up to which a copy is cheaper than a view
_BRIEF: Final = 4096

#: the one parameter beginning `triton_` that is a client's to set; one reply answers each request here, so that
#: there is no empty final one
EMPTY_FINAL: Final = "triton_enable_empty_final_response"

#: the field of InferTensorContents that each datatype uses; FP16 and BF16 have none
_CONTENTS: Final = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


@cache
def _parser() -> tuple[Callable[[bytes], Any], type[Exception]]:
    from google.protobuf.message import DecodeError

    return pb.message("ModelInferRequest").FromString, DecodeError


def decode(
    body: bytes, regions: Regions | None = None, most: int = 8 << 20, layouts: Layouts | None = None
) -> tuple[InferRequest, ReplyForm]:
    """`most` is the limit in bytes of a message without its raw tensors, `layouts` what is known of earlier ones.

    Raises InvalidArgument naming the input or parameter, what was found and what was expected; TooLarge.
    """
    if layouts is not None and (found := layouts.find(body)) is not None:
        return found
    parse, failure = _parser()
    whole = body
    views: list[memoryview] | None = None
    if len(body) > LARGE:
        body, views = _split(body)
        if len(body) > most:
            raise TooLarge(f"the request without its raw tensors has {len(body)} bytes, the limit is {most}")
    try:
        message = parse(body)
    except failure as error:
        raise InvalidArgument(f"failed to parse the request: {error}") from None
    raw = message.raw_input_contents if views is None else views
    request = InferRequest(message.model_name, message.model_version, message.id, _inputs(message, raw, regions))
    parameters = message.parameters
    if parameters:
        given = _parameters(parameters, "the request")
        given.pop(EMPTY_FINAL, None)
        read_parameters(given, request)
    form = RAW
    if outputs := message.outputs:
        wanted = ((o.name, _parameters(o.parameters, f"output '{o.name}'") if o.parameters else None) for o in outputs)
        form = read_outputs(wanted, RAW.default, request)
    if layouts is not None and not parameters and not request.id and len(whole) <= LONGEST:
        places = _places(whole)
        if places and len(places) == len(request.inputs) and not any(map(_is_looked_at, request.inputs.values())):
            layouts.saw(whole, request, form, places)
    return request, form


def request_id(body: bytes) -> str:
    """Of a ModelInferRequest that cannot be decoded; empty where not even that can be read."""
    parse, failure = _parser()
    try:
        found: str = parse(body).id
    except failure:
        return ""
    return found


def _is_looked_at(array: Array) -> bool:
    """Whether the values of its datatype are checked or decoded as they are read."""
    return array.dtype.char in "?O"


def _inputs(message: Any, raw: Sequence[Buffer], regions: Regions | None) -> dict[str, Array]:
    inputs: dict[str, Array] = {}
    count = len(raw)
    used = 0
    for tensor in message.inputs:
        name = tensor.name
        if name in inputs:
            raise InvalidArgument(f"input '{name}' is given twice")
        datatype = datatype_of(name, tensor.datatype)
        shape = tuple(tensor.shape)
        check_shape(name, shape)
        shared = shared_of(_parameters(tensor.parameters, f"input '{name}'"), f"input '{name}'") if (
            tensor.parameters
        ) else None  # fmt: skip
        if tensor.HasField("contents") and (count or shared is not None):
            raise InvalidArgument(
                f"input '{name}' is given more than once:"
                " expected one of contents, raw_input_contents, shared_memory_region"
            )
        if shared is not None:
            inputs[name] = decode_raw(name, datatype, shape, read_shared(name, shared, regions))
        elif count:
            if used == count:
                raise _miscounted(message, count)
            inputs[name] = decode_raw(name, datatype, shape, raw[used])
            used += 1
        else:
            inputs[name] = _typed(name, datatype, shape, tensor.contents)
    if used != count:
        raise _miscounted(message, count)
    return inputs


def _miscounted(message: Any, count: int) -> InvalidArgument:
    due = sum("shared_memory_region" not in tensor.parameters for tensor in message.inputs)
    return InvalidArgument(
        f"raw_input_contents has {count} entries, expected {due}: one for each input that is not in shared memory"
    )


def _typed(name: str, datatype: DataType, shape: tuple[int, ...], contents: Any) -> Array:
    field = _CONTENTS.get(datatype.name)
    if field is None:
        raise InvalidArgument(f"input '{name}' is {datatype.name}, which travels in raw_input_contents only")
    for other, _ in contents.ListFields():
        if other.name != field:
            raise InvalidArgument(f"input '{name}' is {datatype.name} but has {other.name}, expected {field}")
    values = getattr(contents, field)
    expected = prod(shape)
    if len(values) != expected:
        raise InvalidArgument(
            f"input '{name}' has {len(values)} elements in {field}, expected {expected} for shape {list(shape)}"
        )
    try:
        if datatype.dtype == STRING:
            return strings([str(value, "utf-8") for value in values], shape)
        return np.fromiter(values, datatype.dtype, expected).reshape(shape)
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"an element of input '{name}' is not UTF-8: {error.reason}") from None
    except OverflowError:
        raise InvalidArgument(f"input '{name}' has a value that is out of the range of {datatype.name}") from None
    except ValueError:
        raise InvalidArgument(f"shape {list(shape)} of input '{name}' is too large") from None


def _parameters(parameters: Any, where: str) -> Parameters:
    """A map of InferParameter as plain values."""
    found: Parameters = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise InvalidArgument(f"parameter '{name}' of {where} has no value")
        found[name] = getattr(parameter, choice)
    return found


# ---- fields of a request's message, one by one

_RAW_INPUT: Final = 7 << 3 | 2


def _split(body: bytes) -> tuple[bytes, list[memoryview] | None]:
    """A ModelInferRequest without its raw tensors, and views of these; unsplit where it is not what is expected."""
    view = memoryview(body)
    rest: list[memoryview] = []
    tensors: list[memoryview] = []
    at = 0
    try:
        for _ in range(_MOST_FIELDS):
            if at == len(body):
                return b"".join(rest), tensors
            start = at
            key, at = _varint(body, at)
            kind = key & 7
            if kind == 2:
                size, at = _varint(body, at)
                at += size
            elif kind == 0:
                _, at = _varint(body, at)
            elif kind in (1, 5):
                at += 8 if kind == 1 else 4
            else:
                break
            if at > len(body):
                break
            if key == _RAW_INPUT:
                tensors.append(view[at - size : at])
            else:
                rest.append(view[start:at])
    except (IndexError, OverflowError):
        pass  # it ends within a number: protobuf says so in its own words
    return body, None


def _places(body: bytes) -> list[tuple[int, int]]:
    """Where the raw tensors begin and end, if they are the last of a ModelInferRequest that has no other surprises."""
    places: list[tuple[int, int]] = []
    at = 0
    while at < len(body):
        key, at = _varint(body, at)
        if key & 7 != 2:
            return []
        size, at = _varint(body, at)
        if key == _RAW_INPUT:
            places.append((at, at + size))
        elif places:
            return []
        at += size
    return places


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at that place, and the place after it. Raises IndexError, OverflowError."""
    value = data[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise OverflowError


# ---- replies

#: field 4 of ModelInferResponse: the map entry triton_final_response → bool_param true
_FINAL: Final = b"\x22\x1b\x0a\x15triton_final_response\x12\x02\x08\x01"


def encode(
    response: InferResponse, form: ReplyForm, signature: Signature, regions: Regions | None, *, final: bool = False
) -> list[Buffer]:
    """A ModelInferResponse in pieces; `final` adds what a stream's reply says of itself.

    Raises InvalidArgument, NotFound where an output cannot be given back as it was asked for.
    """
    parts: list[Buffer] = [_answerer(response.model, response.version)]
    if response.id:
        parts.append(_field(3, response.id.encode()))
    if final:
        parts.append(_FINAL)
    forms = form.outputs
    for name, array in response.outputs.items():
        wish = forms.get(name, form.default) if forms else form.default
        if wish.classes:
            array = classify(array, wish.classes, signature.outputs[name].labels, batched=signature.batched)
        if wish.shared is not None:
            size = write_shared(name, array, wish.shared, regions)
            parts.append(_field(5, _tensor(name, array.dtype.char, array.shape) + _place(wish.shared, size)))
            continue
        code = array.dtype.char
        if code == "O":
            blob = encode_raw(array)
            parts.append(_field(5, _tensor(name, code, array.shape)) + _raw_head(len(blob)))
        else:
            nbytes = array.nbytes
            blob = array.tobytes() if nbytes < _BRIEF else encode_raw(array)
            parts.append(_output(name, code, array.shape, nbytes))
        parts.append(blob)
    return parts


def in_stream(parts: list[Buffer]) -> bytes:
    """A ModelStreamInferResponse around it."""
    return b"".join([_reply_head(sum(map(len, parts))), *parts])


def error_in_stream(message: str, request_id: str) -> bytes:
    """A ModelStreamInferResponse for a request that failed, which its id names, if it has one."""
    answer = (_field(3, request_id.encode()) if request_id else b"") + _FINAL
    return _field(1, message.encode("utf-8", "replace")) + _field(2, answer)


@lru_cache(maxsize=4096)
def _answerer(model: str, version: str) -> bytes:
    return _field(1, model.encode()) + _field(2, version.encode())


@lru_cache(maxsize=4096)
def _output(name: str, code: str, shape: tuple[int, ...], nbytes: int) -> bytes:
    """An output, and the head of its raw contents: the two lists may alternate, each keeps its order."""
    return _field(5, _tensor(name, code, shape)) + _raw_head(nbytes)


@lru_cache(maxsize=4096)
def _tensor(name: str, code: str, shape: tuple[int, ...]) -> bytes:
    """An InferOutputTensor without parameters. `code` is the dtype's; that of a record can only be BF16's."""
    dtype = BFLOAT16 if code == "V" else np.dtype(code)
    dims = _field(3, b"".join(map(_number, shape))) if shape else b""
    return _field(1, name.encode()) + _field(2, NAME_OF[dtype].encode()) + dims


def _place(shared: Shared, size: int) -> bytes:
    """The parameters of an output that was written to shared memory."""
    region = _field(3, shared.region.encode())
    return b"".join(
        _field(4, _field(1, name) + _field(2, value))
        for name, value in (
            (b"shared_memory_region", region),
            (b"shared_memory_offset", b"\x10" + _number(shared.offset)),
            (b"shared_memory_byte_size", b"\x10" + _number(size)),
        )
    )


def _raw_head(size: int) -> bytes:
    return b"\x32" + _number(size)


@lru_cache(maxsize=4096)
def _reply_head(size: int) -> bytes:
    return b"\x12" + _number(size)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return bytes((number << 3 | 2,)) + _number(len(content)) + content


def _number(value: int) -> bytes:
    """A varint of a number of at least 0."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
