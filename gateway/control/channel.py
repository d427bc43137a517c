"""Calls and notices both ways between a supervisor and one worker, over a socket pair.

A frame is its length in 4 bytes, big-endian, and MessagePack: [kind, number, what, body]. A call has a number, which
its answer repeats; a notice is a call that nobody answers. Both ends are the same program: nothing is negotiated.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.core.errors import Internal, SluiceError, Unavailable

logger = logging.getLogger("sluice.control")

CALL, NOTICE, ANSWER, ERROR = range(4)

#: bytes that nobody has read yet
CONGESTED: Final = 4 << 20

Handler = Callable[[Any], Awaitable[Any]]

_LENGTH: Final = struct.Struct(">I")
_CLASSES: Final[Mapping[str, type[SluiceError]]] = {
    each.code: each for each in SluiceError.__subclasses__() if each.__module__ == SluiceError.__module__
}
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Gone(Unavailable):
    """The other end is not there any more."""


class Channel:
    """One end. Belongs to the event loop; `start` takes the socket over.

    A handler takes a call's body and returns what is answered; a SluiceError that it raises is raised at the caller.
    Handlers of several calls run at the same time, each call's in a task of its own.
    """

    def __init__(self, name: str, handlers: Mapping[str, Handler]) -> None:
        self.name = name
        #: set when the other end is gone
        self.closed = asyncio.Event()
        #: when anything was heard last, by the loop's clock
        self.heard = 0.0
        self._handlers = handlers
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def start(self, end: socket.socket) -> None:
        reader, self._writer = await asyncio.open_unix_connection(sock=end, limit=1 << 20)
        self.heard = asyncio.get_running_loop().time()
        self._reading = asyncio.create_task(self._read(reader))

    async def call(self, what: str, body: Any = None) -> Any:
        """Raises what the handler raised, Gone where there will be no answer."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._number += 1
        number = self._number
        self._waiting[number] = future
        try:
            self._send(CALL, number, what, body)
            return await future
        finally:
            self._waiting.pop(number, None)

    @property
    def congested(self) -> bool:
        """The other end does not read: what need not be said is better not said."""
        return self._writer is not None and self._writer.transport.get_write_buffer_size() > CONGESTED

    def tell(self, what: str, body: Any = None) -> None:
        """A notice; nothing happens where the other end is gone."""
        if not self.closed.is_set():
            self._send(NOTICE, 0, what, body)

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            await asyncio.wait([self._reading])

    def _send(self, kind: int, number: int, what: str, body: Any) -> None:
        writer = self._writer
        if writer is None or self.closed.is_set() or writer.is_closing():
            raise Gone(f"{self.name} is gone")
        frame = _encode((kind, number, what, body))
        writer.write(_LENGTH.pack(len(frame)))
        writer.write(frame)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                frame = await reader.readexactly(length)
                self.heard = loop.time()
                self._take(*_decode(frame))
        except (asyncio.IncompleteReadError, OSError):
            pass
        except (msgspec.DecodeError, TypeError) as error:
            logger.error("%s sends what is no message: %s", self.name, error)
        finally:
            self._end()

    def _end(self) -> None:
        self.closed.set()
        if self._writer is not None:
            self._writer.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Gone(f"{self.name} is gone"))

    def _take(self, kind: int, number: int, what: str, body: Any) -> None:
        if kind in (CALL, NOTICE):
            task = asyncio.create_task(self._handle(number if kind == CALL else None, what, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        future = self._waiting.get(number)
        if future is None or future.done():
            return
        if kind == ANSWER:
            future.set_result(body)
        else:
            message, retry_after = body
            future.set_exception(_CLASSES.get(what, Internal)(message, retry_after=retry_after))

    async def _handle(self, number: int | None, what: str, body: Any) -> None:
        try:
            kind, answer = ANSWER, await self._handlers[what](body)
        except SluiceError as error:
            kind, what, answer = ERROR, error.code, (error.message, error.retry_after)
        except Exception as error:
            logger.exception("'%s' of %s failed", what, self.name)
            kind, what = ERROR, Internal.code
            answer = (f"{type(error).__name__}; the server's log has the reason", None)
        if number is not None and not self.closed.is_set():
            try:
                self._send(kind, number, what, answer)
            except Gone:
                return
