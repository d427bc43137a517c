"""The fields of a ModelInferRequest's bytes, one by one: what protobuf would copy is found where it lies."""

from __future__ import annotations

from typing import Final

from gateway.core.varint import read

#: fields of a message that are looked at one by one; one with more is protobuf's alone
_MOST_FIELDS: Final = 4096

_RAW_INPUT: Final = 7 << 3 | 2


def split(body: bytes) -> tuple[bytes, list[memoryview] | None]:
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
            key, at = read(body, at)
            kind = key & 7
            if kind == 2:
                size, at = read(body, at)
                at += size
            elif kind == 0:
                _, at = read(body, at)
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


def places(body: bytes) -> list[tuple[int, int]]:
    """Where the raw tensors begin and end, if they are the last of a ModelInferRequest that has no other surprises."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < len(body):
        key, at = read(body, at)
        if key & 7 != 2:
            return []
        size, at = read(body, at)
        if key == _RAW_INPUT:
            found.append((at, at + size))
        elif found:
            return []
        at += size
    return found
