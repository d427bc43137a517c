"""Content codings: gzip and deflate (RFC 9110, 8.4.1; deflate is the zlib format), with a limit on what comes out."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

from gateway.codecs.binary import Buffer
from gateway.core.errors import InvalidArgument, TooLarge, Unsupported

#: that code the large bodies of a port: others than those that loads and the store wait for, and so few that the bodies
#: which come out at the same time are few, however many are sent
THREADS: Final = 2

_WINDOW: Final = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


class Decompressor:
    """Undoes one body's coding in two steps, so that a small body is done with at once and a large one in a thread.

    Raises Unsupported for an unknown coding, TooLarge over `limit` bytes, InvalidArgument for broken data. Never
    holds more than `limit` bytes of output.
    """

    def __init__(self, coding: bytes, limit: int) -> None:
        if coding not in _WINDOW:
            raise Unsupported(
                f"content encoding '{coding.decode('latin-1')}' is not supported, expected gzip or deflate"
            )
        self._stream = zlib.decompressobj(_WINDOW[coding])
        self._limit = limit
        self._left: bytes = b""
        self._out = b""
        self.finished = False

    def feed(self, body: Buffer, brief: int) -> bytes:
        """The whole body if it comes to no more than `brief` bytes; else `finished` is false: call `rest`."""
        self._left = bytes(body)
        self._out = self._step(min(brief, self._limit + 1))
        return self._checked()

    def rest(self) -> bytes:
        if not self.finished:
            self._out += self._step(self._limit + 1 - len(self._out))
            self._checked()
        if not self.finished:
            raise InvalidArgument("the compressed body is incomplete")
        return self._out

    def _step(self, most: int) -> bytes:
        if most <= 0:
            return b""
        try:
            out = self._stream.decompress(self._left, most)
        except zlib.error as error:
            raise InvalidArgument(f"the body cannot be decompressed: {error}") from None
        self._left = self._stream.unconsumed_tail
        return out

    def _checked(self) -> bytes:
        if len(self._out) > self._limit:
            raise TooLarge(f"the decompressed body exceeds {self._limit} bytes")
        if self._stream.eof:
            if self._stream.unused_data:
                raise InvalidArgument("the compressed body is followed by other data")
            self.finished = True
        return self._out


def accepted(header: bytes) -> bytes:
    """The coding that an Accept-Encoding header prefers among ours; empty for none."""
    best, coding = 0.0, b""
    for item in header.lower().split(b","):
        name, _, weight = item.partition(b";")
        name = name.strip()
        quality = _quality(weight)
        if name in (b"gzip", b"deflate") and quality > best:
            best, coding = quality, name
    return coding


def _quality(parameter: bytes) -> float:
    name, _, value = parameter.strip().partition(b"=")
    if name.strip() != b"q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def compress(parts: Iterable[Buffer], coding: bytes, level: int) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, _WINDOW[coding])
    return b"".join([*map(stream.compress, parts), stream.flush()])
