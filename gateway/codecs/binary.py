"""Tensors as raw bytes: little-endian, row-major, unpadded; BOOL is one byte.

BYTES is, for each element, a u32 little-endian length and that many bytes, which must be UTF-8.
Format: Open Inference Protocol v2, "Binary Tensor Data Extension".
"""

from __future__ import annotations

from math import prod
from struct import Struct
from typing import Final

import numpy as np

from gateway.core.errors import InvalidArgument
from gateway.core.tensor import STRING, Array, DataType

_LENGTH: Final = Struct("<I")

Buffer = bytes | bytearray | memoryview


def decode_raw(name: str, datatype: DataType, shape: list[int] | tuple[int, ...], data: Buffer) -> Array:
    """A view of `data` where its alignment allows, else a copy. BYTES are always decoded.

    Raises InvalidArgument naming the input where the size is not what the shape needs.
    """
    if datatype.dtype == STRING:
        return _decode_strings(name, shape, data)
    expected = prod(shape) * datatype.itemsize
    if len(data) != expected:
        raise InvalidArgument(
            f"unexpected size for input '{name}': {len(data)} bytes,"
            f" expecting {expected} for {datatype.name} {list(shape)}"
        )
    if datatype.name == "BOOL" and expected and np.frombuffer(data, np.uint8).max() > 1:
        raise InvalidArgument(f"unexpected byte in input '{name}': a BOOL is 0 or 1")
    try:
        array = np.frombuffer(data, datatype.dtype).reshape(shape)
    except ValueError:
        raise InvalidArgument(f"shape {list(shape)} of input '{name}' is too large") from None
    return array if array.flags.aligned else array.copy()


def encode_raw(array: Array) -> Buffer:
    """The bytes of a tensor; for numbers a view of it, where it is contiguous."""
    if array.dtype == STRING:
        return _encode_strings(array)
    if not array.size:
        return b""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _decode_strings(name: str, shape: list[int] | tuple[int, ...], data: Buffer) -> Array:
    count = prod(shape)
    view = memoryview(data)
    total = len(view)
    # every element takes four bytes at least: nothing is allocated for a count that the data cannot hold
    if count * 4 > total:
        raise InvalidArgument(
            f"unexpected size for input '{name}': {total} bytes, expecting at least {count * 4} for {count} elements"
        )
    texts: list[str] = []
    at = 0
    for index in range(count):
        start = at + 4
        if start > total:
            raise InvalidArgument(f"input '{name}' ends within the length of element {index} of {count}")
        (length,) = _LENGTH.unpack_from(view, at)
        at = start + length
        if at > total:
            raise InvalidArgument(
                f"element {index} of input '{name}' claims {length} bytes, but {total - start} are left"
            )
        try:
            texts.append(str(view[start:at], "utf-8"))
        except UnicodeDecodeError as error:
            raise InvalidArgument(f"element {index} of input '{name}' is not UTF-8: {error.reason}") from None
    if at != total:
        raise InvalidArgument(
            f"unexpected additional input data for '{name}': {total - at} bytes after {count} elements"
        )
    return strings(texts, shape)


def strings(texts: list[str], shape: list[int] | tuple[int, ...]) -> Array:
    """An object array of `str`."""
    array = np.empty(len(texts), STRING)
    array[:] = texts
    try:
        return array.reshape(shape)
    except ValueError:
        raise InvalidArgument(f"shape {list(shape)} is too large") from None


def _encode_strings(array: Array) -> bytes:
    parts: list[bytes] = []
    for text in array.reshape(-1).tolist():
        raw = text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogateescape")
        parts.append(_LENGTH.pack(len(raw)))
        parts.append(raw)
    return b"".join(parts)


def raw_size(array: Array) -> int:
    """Bytes that `encode_raw` will give, without making them, for numbers."""
    if array.dtype == STRING:
        return len(_encode_strings(array))
    return array.size * array.dtype.itemsize
