"""Large answers of a broker, received where they are to lie.

asyncio's stream reader, which aiokafka 0.14 reads by, makes bytes of each piece that the socket has, puts them into an
array that grows, and copies the whole at its end: a tenth of the CPU time of a stream between topics. Here a fetch is
read from the socket into its own bytes.
"""

from __future__ import annotations

import asyncio
import io
import threading
from typing import Any, Final

import aiokafka.conn

#: bytes; what is smaller is not worth the way round
_LARGE: Final = 64 * 1024
#: what says that it is larger is received as it comes: a server of another kind may have said so
_MOST: Final = 64 * 1024 * 1024
_AIOKafkaProtocol: Final = aiokafka.conn.AIOKafkaProtocol


class _Scratch(threading.local):
    """Of all connections of a thread's loop: what was received is taken out before anybody else is asked. A view,
    because asyncio's TLS fills slices of it, and a bytearray's are copies: what comes second would be lost."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_LARGE))


_scratch: Final = _Scratch()


class FrameProtocol(asyncio.BufferedProtocol):
    """aiokafka's protocol, with another way in for its reader. It is no subclass: what is an asyncio.Protocol, uvloop
    never asks for a buffer."""

    def __init__(self, closed: asyncio.Future[None], reader: asyncio.StreamReader, **options: Any) -> None:
        self._inner: Final[Any] = _AIOKafkaProtocol(closed, reader, **options)
        self._frames: Final[Any] = reader
        setattr(reader, "readexactly", self._exactly)  # noqa: B010 - not this class's, but for aiokafka to find
        #: what is to be filled of the frame that is waited for; empty where there is none
        self._rest = memoryview(b"")

    def __getattr__(self, name: str) -> Any:
        """For the writer, which knows more of its protocol than asyncio tells."""
        return getattr(self._inner, name)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool | None:
        stays_open: bool | None = self._inner.eof_received()
        return stays_open

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._rest or _scratch.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._rest:
            self._inner.data_received(bytes(_scratch.buffer[:nbytes]))
            return
        self._rest = self._rest[nbytes:]
        if not self._rest:
            self._frames._wakeup_waiter()

    async def _exactly(self, count: int) -> bytes:
        reader = self._frames
        held = len(reader._buffer)
        if not _LARGE <= count <= _MOST or held >= count:
            found: bytes = await asyncio.StreamReader.readexactly(reader, count)
            return found
        if reader._exception is not None:
            raise reader._exception
        frame = io.BytesIO()
        frame.seek(count - 1)
        frame.write(b"\0")
        with frame.getbuffer() as whole:
            whole[:held] = reader._buffer
            reader._buffer.clear()
            self._rest = whole[held:]
            try:
                while self._rest:
                    if reader._eof:
                        raise asyncio.IncompleteReadError(b"", count)
                    await reader._wait_for_data("readexactly")
            finally:
                self._rest.release()
                self._rest = memoryview(b"")
        return frame.getvalue()


def receive_in_place() -> None:
    """For connections that are made from now on."""
    aiokafka.conn.AIOKafkaProtocol = FrameProtocol
