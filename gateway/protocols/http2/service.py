"""What all connections of one port share: limits, the sweep, and what their streams are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from gateway.protocols.http2.headers import Field
from gateway.protocols.http2.stream import Stream

if TYPE_CHECKING:
    from gateway.protocols.http2.connection import Connection

Head = TypeVar("Head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds; `max_age` and its grace: 0 for none.

    streams     of one connection at a time
    patience    without progress at `min_rate` bytes a second, of a client that reads or sends
    keepalive   a connection that is silent for `keepalive_time` is asked, and given up after `keepalive_timeout`
    """

    header_bytes: int = 32 << 10
    streams: int = 1024
    connections: int = 8192
    handshake_timeout: float = 10.0
    patience: float = 30.0
    min_rate: int = 16 << 10
    keepalive_time: float = 60.0
    keepalive_timeout: float = 20.0
    min_ping_interval: float = 10.0
    max_age: float = 0.0
    max_age_grace: float = 30.0


class Service(Generic[Head]):
    """Belongs to the event loop's thread. A subclass says what heads and streams are."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.connections: set[Connection] = set()
        #: there are no connections
        self.empty = asyncio.Event()
        self.empty.set()
        #: a clock of one second's grain: the sweep's, and what it compares with
        self.now = 0.0
        self._sweeping: asyncio.TimerHandle | None = None

    def head(self, fields: list[Field]) -> Head:
        """What a stream needs of its request's fields; made once for heads that come again. Raises Malformed."""
        raise NotImplementedError

    def open(self, connection: Connection, number: int, head: Head) -> Stream:
        raise NotImplementedError

    def opened(self, connection: Connection) -> bool:
        """Whether there is room for it."""
        if len(self.connections) >= self.limits.connections:
            return False
        self.connections.add(connection)
        self.empty.clear()
        if self._sweeping is None:
            self._next_sweep(connection.loop)
        connection.began = self.now
        return True

    def lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self.empty.set()

    def _next_sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = loop.time()
        self._sweeping = loop.call_later(1.0, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once a second over all connections, instead of a timer for each."""
        self._sweeping = None
        if self.connections:
            self._next_sweep(loop)
        for connection in list(self.connections):
            connection.sweep(self.now)
