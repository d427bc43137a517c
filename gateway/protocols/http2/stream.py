"""One stream of a connection: what is left to send of it, and how much it may."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gateway.protocols.http2.frames import CANCEL, DATA, END_HEADERS, END_STREAM, HEAD, HEADERS, frame

if TYPE_CHECKING:
    from gateway.protocols.http2.connection import Connection


class Stream:
    """A request and its reply. What is made of the request, a subclass says.

    window     bytes that may be sent; below 0 after the peer made its windows smaller
    receivable bytes that the peer may send before it is given more
    """

    __slots__ = ("_trailers", "_waiting", "connection", "ended", "id", "promised", "receivable", "unconsumed", "window")

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.id = number
        self.window: int = connection.peer_window
        self.receivable: int = connection.own_window
        self.unconsumed = 0
        #: bytes of data that the request said it has and that have not come; None where it said nothing
        self.promised: int | None = None
        #: the peer has sent everything
        self.ended = False
        self._waiting: deque[memoryview] | None = None
        self._trailers: bytes | None = None

    # ---- what comes

    def on_data(self, data: bytes) -> None:
        raise NotImplementedError

    def on_begin(self) -> None:
        """The head is all that there is yet."""

    def on_end(self) -> None:
        """Nothing more comes."""
        raise NotImplementedError

    def on_lost(self) -> None:
        """The peer took it back, or is gone: nothing can be sent any more."""
        raise NotImplementedError

    def on_room(self) -> None:
        """All that had to wait was sent."""

    def sweep(self, now: float) -> None:
        """Called once a second."""

    def consumed(self, nbytes: int) -> None:
        """So much of the data needs no room any more."""
        self.unconsumed += nbytes
        if self.unconsumed * 2 >= self.connection.own_window and not self.ended:
            self.receivable += self.unconsumed
            self.connection.give(self.id, self.unconsumed)
            self.unconsumed = 0

    # ---- what goes

    @property
    def waits(self) -> bool:
        """Something could not be sent yet."""
        return self._waiting is not None

    def send(self, head: bytes, data: bytes, trailers: bytes = b"") -> None:
        """Header blocks and data, each empty for none. Trailers end the stream; it is forgotten once they are sent."""
        connection = self.connection
        size = len(data)
        number = self.id
        if (
            self._waiting is None
            and size <= self.window
            and size <= connection.window
            and size <= connection.peer_frame
            and not connection.paused
        ):
            self.window -= size
            connection.window -= size
            parts = b""
            if head:
                parts = HEAD.pack(0, len(head), HEADERS, END_HEADERS, number) + head
            if size:
                parts += HEAD.pack(size >> 16, size & 0xFFFF, DATA, 0, number) + data
            if trailers:
                parts += HEAD.pack(0, len(trailers), HEADERS, END_HEADERS | END_STREAM, number) + trailers
                connection.emit(parts)
                connection.finished(self)
            else:
                connection.emit(parts)
            return
        if head:
            connection.emit(frame(HEADERS, END_HEADERS, number, head))
        if self._waiting is None:
            self._waiting = deque()
            connection.waiting[number] = self
        if size:
            self._waiting.append(memoryview(data))
        if trailers:
            self._trailers = trailers
        connection.pump()

    def send_some(self) -> bool | None:
        """A frame of what waits. Whether all that waited is gone; None where there is no room."""
        connection, waiting = self.connection, self._waiting
        if waiting:
            piece = waiting[0]
            size = min(len(piece), self.window, connection.window, connection.peer_frame)
            if size <= 0:
                return None
            self.window -= size
            connection.window -= size
            connection.emit(HEAD.pack(size >> 16, size & 0xFFFF, DATA, 0, self.id) + piece[:size])
            if size < len(piece):
                waiting[0] = piece[size:]
                return False
            waiting.popleft()
            if waiting:
                return False
        self._waiting = None
        if self._trailers is not None:
            connection.emit(frame(HEADERS, END_HEADERS | END_STREAM, self.id, self._trailers))
            connection.finished(self)
        return True

    def reset(self, code: int = CANCEL) -> None:
        self.connection.reset(self.id, code)
