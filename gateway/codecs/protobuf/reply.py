"""Replies into protobuf's bytes, by hand: what is the same in each reply of a model is made once, and its tensors are
copied once, into the message.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from gateway.codecs.binary import Buffer, encode_raw
from gateway.codecs.classification import classify
from gateway.codecs.wishes import Regions, ReplyForm, Shared, write_shared
from gateway.core.infer import InferResponse
from gateway.core.signature import Signature
from gateway.core.tensor import BFLOAT16, NAME_OF
from gateway.core.varint import encode as _number

#: bytes of an output up to which a copy is cheaper than a view
_BRIEF: Final = 4096
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
