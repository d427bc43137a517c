"""Reads a large body from the socket straight into its place, instead of collecting chunks and copying them twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from gateway.protocols.http.wire import Wire

#: bytes that are still to come from which on it is worth while
LARGE: Final = 128 << 10
ALIGNMENT: Final = 16


class LargeBody(asyncio.BufferedProtocol):
    """Takes a connection's place at its transport until the body is complete; all else it hands on.

    wire     the connection
    length   of the whole body, in bytes
    begun    what of it was read already
    blobs    where the blobs begin in it: they are laid where numpy can use them as they are
    """

    def __init__(self, wire: Wire, length: int, begun: bytes, blobs: int) -> None:
        self._wire = wire
        # not zeroed, and from memory that was used before: a bytearray of this size costs a page fault for every 4 KiB
        pad = -blobs % ALIGNMENT
        self._view = memoryview(np.empty(pad + length, np.uint8).data)[pad:]
        self._view[: len(begun)] = begun
        self._read = len(begun)
        wire.read_by(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view[self._read :]

    def buffer_updated(self, nbytes: int) -> None:
        self._read += nbytes
        self._wire.received(nbytes)
        if self._read == len(self._view):
            self._wire.read_by(self._wire)
            self._wire.body_complete(self._view)

    def eof_received(self) -> None:
        self._wire.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.connection_lost(exc)

    def pause_writing(self) -> None:
        self._wire.pause_writing()

    def resume_writing(self) -> None:
        self._wire.resume_writing()
