"""Reads large bodies from the socket straight into their place, instead of collecting chunks and copying them twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from gateway.protocols.http.wire import Wire

#: bytes that are still to come from which on it is worth while
LARGE: Final = 128 << 10
ALIGNMENT: Final = 16

#: where heads are read into, of all connections: what is read is taken out before anybody else reads. As long as a head
#: usually is with the JSON of its tensors, because what follows in the same piece is copied once more
_HEADS: Final = memoryview(bytearray(16 << 10))


class LargeBodies(asyncio.BufferedProtocol):
    """Takes a connection's place at its transport from its first large body on; all but bodies it hands on.

    It stays there: to change places twice for each body costs more than to read heads from here.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._body: memoryview | None = None
        self._rest = _HEADS
        # the transport asks a protocol how it wants its data when it begins to read, and only then
        wire.transport.pause_reading()
        wire.transport.set_protocol(self)
        wire.resume_after_change()

    def expect(self, length: int, begun: bytes, blobs: int) -> None:
        """A body comes.

        length   of all of it, in bytes
        begun    what of it was read already
        blobs    where the blobs begin in it: they are laid where numpy can use them as they are
        """
        # not zeroed, and from memory that was used before: a bytearray of this size costs a page fault for every 4 KiB
        pad = -blobs % ALIGNMENT
        self._body = body = memoryview(np.empty(pad + length, np.uint8).data)[pad:]
        body[: len(begun)] = begun
        self._rest = body[len(begun) :]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._rest

    def buffer_updated(self, nbytes: int) -> None:
        body = self._body
        if body is None:
            self._wire.data_received(bytes(_HEADS[:nbytes]))
            return
        self._rest = self._rest[nbytes:]
        self._wire.received(nbytes)
        if not self._rest:
            self._body, self._rest = None, _HEADS
            self._wire.body_complete(body)

    def eof_received(self) -> None:
        self._wire.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.connection_lost(exc)

    def pause_writing(self) -> None:
        self._wire.pause_writing()

    def resume_writing(self) -> None:
        self._wire.resume_writing()
