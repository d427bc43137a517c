"""Protobuf's numbers of one to ten bytes: https://protobuf.dev/programming-guides/encoding/#varints."""

from __future__ import annotations


def read(data: bytes, at: int) -> tuple[int, int]:
    """The number at that place, and the place after it; what is beyond 64 bits is dropped, as protobuf does.

    Raises IndexError where the data ends within it, OverflowError where it has more than ten bytes.
    """
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
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise OverflowError


def encode(value: int) -> bytes:
    """Of a number of at least 0."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
