"""Infer requests out of protobuf's bytes.

A request is parsed by protobuf, but for the raw tensors of a large one, which are views of the bytes received: protobuf
copies them twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import Any, Final

import numpy as np

from gateway import pb
from gateway.codecs.binary import Buffer, decode_raw, strings
from gateway.codecs.declared import check_shape, datatype_of
from gateway.codecs.layout import LONGEST, Layouts
from gateway.codecs.protobuf.fields import places, split
from gateway.codecs.wishes import (
    RAW,
    Regions,
    ReplyForm,
    read_outputs,
    read_parameters,
    read_shared,
    shared_of,
)
from gateway.core.errors import InvalidArgument, TooLarge
from gateway.core.infer import InferRequest, Parameters
from gateway.core.tensor import STRING, Array, DataType

#: bytes of a message from which on its raw tensors are not given to protobuf
LARGE: Final = 16 << 10

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
        body, views = split(body)
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
        raw = places(whole)
        if raw and len(raw) == len(request.inputs) and not any(map(_is_looked_at, request.inputs.values())):
            layouts.saw(whole, request, form, raw)
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
