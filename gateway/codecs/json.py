"""Tensors and infer requests as JSON text.

The most frequent request, floats and nothing but floats, is read at once (`decode_floats`). Any other is read in two
steps: the document with the tensors' data left as text, then each tensor's data by the decoder of its datatype. So a
string, or a `true`, where a number is due is refused either way.

`NaN`, `Infinity` and `-Infinity` are not JSON, but what the reference server reads and writes: documents that hold
them take a slow path through the standard library. A number beyond the range of its float type becomes infinite (the
application turns numpy's warning of that off); one beyond the range of its integer type is refused.
"""

from __future__ import annotations

import json
from itertools import chain
from math import prod
from typing import Any, Final, Generic, TypeVar

import msgspec
import numpy as np
import orjson

from gateway.codecs.binary import Buffer, strings
from gateway.codecs.declared import MAX_RANK
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import DATA_TYPES, NAME_OF, STRING, Array, DataType

Data = msgspec.Raw | list[Any] | msgspec.UnsetType


class InputDocument(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class OutputDocument(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class InferDocument(msgspec.Struct):
    """The body of an infer request, as in the Open Inference Protocol v2, "Inference Request JSON Object"."""

    inputs: list[InputDocument]
    id: str = ""
    parameters: dict[str, Any] | None = None
    outputs: list[OutputDocument] | None = None


T = TypeVar("T")


class FloatsInput(msgspec.Struct, Generic[T], forbid_unknown_fields=True, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: list[T]


class FloatsDocument(msgspec.Struct, Generic[T], forbid_unknown_fields=True, gc=False):
    """An infer request with nothing in it but FP32 and FP64 inputs, all flat or all nested once, and perhaps an id."""

    inputs: list[FloatsInput[T]]
    id: str = ""


_floats: Final = msgspec.json.Decoder(FloatsDocument[float])
_rows_of_floats: Final = msgspec.json.Decoder(FloatsDocument[list[float]])
_FLOAT_TYPES: Final = {name: DATA_TYPES[name].dtype for name in ("FP32", "FP64")}
_document: Final = msgspec.json.Decoder(InferDocument)
#: what the elements of each datatype are in JSON; FP16 and BF16 do not travel so
_KIND: Final[dict[str, type]] = {
    name: bool if name == "BOOL" else str if name == "BYTES" else float if name in ("FP32", "FP64") else int
    for name in DATA_TYPES
    if name not in ("FP16", "BF16")
}
_EXPECTED: Final = {bool: "booleans", str: "strings", float: "numbers", int: "integers"}
_flat: Final[dict[type, msgspec.json.Decoder[list[Any]]]] = {
    bool: msgspec.json.Decoder(list[bool]),
    str: msgspec.json.Decoder(list[str]),
    float: msgspec.json.Decoder(list[float]),
    int: msgspec.json.Decoder(list[int]),
}


def decode_floats(body: Buffer) -> tuple[str, dict[str, Array]] | None:
    """Id and inputs of a request that is a `FloatsDocument`.

    None for any other, and for one with anything wrong in it: `decode_document` will say what.
    """
    # where it is a view of something large, its beginning is worth a copy
    if (body if isinstance(body, bytes) else bytes(body[:1024])).find(b'"FP', 0, 1024) < 0:
        return None
    try:
        try:
            document: FloatsDocument[Any] = _floats.decode(body)
        except msgspec.ValidationError:
            document = _rows_of_floats.decode(body)
        inputs: dict[str, Array] = {}
        for item in document.inputs:
            data: list[Any] = item.data
            if data and type(data[0]) is list:
                width = len(data[0])
                if any(len(row) != width for row in data):
                    return None
                data = list(chain.from_iterable(data))
            shape = item.shape
            # the rank first: the product of a million numbers takes minutes
            if not data or len(shape) > MAX_RANK or prod(shape) != len(data) or item.name in inputs:
                return None
            inputs[item.name] = np.fromiter(data, _FLOAT_TYPES[item.datatype], len(data)).reshape(shape)
    except (msgspec.DecodeError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return document.id, inputs


def decode_document(body: bytes | bytearray | memoryview) -> InferDocument:
    """Raises InvalidArgument."""
    try:
        return _document.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid inference request: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = bytes(body)
        if b"NaN" in text or b"Infinity" in text:
            return _with_nan(text)
        raise InvalidArgument(f"failed to parse the request JSON: {error}") from None
    except RecursionError:
        raise InvalidArgument("failed to parse the request JSON: it is nested too deeply") from None


def _with_nan(body: bytes) -> InferDocument:
    try:
        found = json.loads(body)
        if b"\\u" in body:
            json.dumps(found, ensure_ascii=False).encode()  # refuses lone surrogates, as the other decoder does
        kept = [
            (item, item.pop("data"))
            for item in (found.get("inputs") or () if isinstance(found, dict) else ())
            if isinstance(item, dict) and "data" in item
        ]
        document = msgspec.convert(found, InferDocument)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid inference request: {error}") from None
    except (ValueError, TypeError) as error:
        raise InvalidArgument(f"failed to parse the request JSON: {error}") from None
    except RecursionError:
        raise InvalidArgument("failed to parse the request JSON: it is nested too deeply") from None
    data = {id(item): value for item, value in kept}
    for item, target in zip(found["inputs"], document.inputs, strict=True):
        if id(item) in data:
            target.data = data[id(item)]
    return document


def decode_data(name: str, datatype: DataType, shape: list[int], data: Data) -> Array:
    """`data` is flat or nested, row-major. Raises InvalidArgument naming the input."""
    kind = _KIND.get(datatype.name)
    if kind is None:
        raise InvalidArgument(f"input '{name}' is {datatype.name}, which travels as binary data only, not in JSON")
    values = _values(name, kind, data) if isinstance(data, msgspec.Raw) else _checked(name, kind, data)
    expected = prod(shape)
    if len(values) != expected:
        raise InvalidArgument(f"input '{name}' has {len(values)} elements, expected {expected} for shape {shape}")
    try:
        if datatype.dtype == STRING:
            return strings(values, shape)
        return np.fromiter(values, datatype.dtype, expected).reshape(shape)
    except OverflowError:
        raise InvalidArgument(f"input '{name}' has a value that is out of the range of {datatype.name}") from None
    except ValueError:
        raise InvalidArgument(f"shape {shape} of input '{name}' is too large") from None


def _values(name: str, kind: type, data: msgspec.Raw) -> list[Any]:
    try:
        return _flat[kind].decode(data)
    except msgspec.ValidationError as error:
        depth = _depth(bytes(memoryview(data)[:256]))
        if depth < 2:
            raise _mistyped(name, kind, error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _mistyped(name, kind, error) from None
    return _nested(name, kind, depth, data)


def _nested(name: str, kind: type, depth: int, data: msgspec.Raw) -> list[Any]:
    if depth > MAX_RANK:
        raise InvalidArgument(f"the data of input '{name}' is nested more than {MAX_RANK} deep")
    of: Any = kind
    for _ in range(depth):
        of = list[of]
    try:
        values: list[Any] = msgspec.json.decode(data, type=of)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _mistyped(name, kind, error) from None
    for _ in range(depth - 1):
        if len(set(map(len, values))) > 1:
            raise InvalidArgument(f"the nested data of input '{name}' has rows of different lengths")
        values = list(chain.from_iterable(values))
    return values


def _mistyped(name: str, kind: type, error: Exception) -> InvalidArgument:
    return InvalidArgument(f"input '{name}' expects {_EXPECTED[kind]}: {error}")


def _depth(head: bytes) -> int:
    """How deep the lists are nested, from the first characters of the text."""
    depth = 0
    for char in head:
        if char == 0x5B:  # [
            depth += 1
        elif char not in b" \t\r\n":
            break
    return depth


def _checked(name: str, kind: type, data: Any) -> list[Any]:
    """The slow path: values that Python's own decoder read."""
    if data is msgspec.UNSET:
        raise InvalidArgument(f"input '{name}' has no data, no binary_data_size and no shared memory region")
    values = data
    allowed = (float, int) if kind is float else (kind,)
    while isinstance(values, list) and values and isinstance(values[0], list):
        if not all(isinstance(row, list) and len(row) == len(values[0]) for row in values):
            raise InvalidArgument(f"the nested data of input '{name}' has rows of different lengths")
        values = list(chain.from_iterable(values))
    if not isinstance(values, list) or not all(type(value) in allowed for value in values):
        raise InvalidArgument(f"input '{name}' expects {_EXPECTED[kind]}")
    return values


def encode_data(name: str, array: Array) -> bytes:
    """A tensor as a flat JSON list. Raises InvalidArgument for the types that JSON cannot carry."""
    code = array.dtype.char
    if code == "O":
        return orjson.dumps(array.ravel().tolist())
    if code in "eV":
        raise InvalidArgument(
            f"output '{name}' is {NAME_OF[array.dtype]}, which travels as binary data only: ask for it with binary_data"
        )
    text = orjson.dumps(array.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
    if b"n" in text:  # null: a value that is not finite (a `true` and a `false` have no n)
        return json.dumps(array.ravel().tolist(), separators=(",", ":")).encode()
    return text


def quote(text: str) -> bytes:
    """A JSON string."""
    return orjson.dumps(text)
