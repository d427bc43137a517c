"""One HTTP/1.1 connection but for its parsing: replies in order, flow control, time.

A request is an exchange, which queues for its turn to be written: so pipelined requests run at the same time and are
answered in order. uvicorn owns the loop, the sockets and the shutdown.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import cached_property
from typing import Any, ClassVar

from gateway.core.errors import SluiceError
from gateway.protocols.http import head
from gateway.protocols.http.exchange import Denial, Exchange, Refusal
from gateway.protocols.http.service import Service
from gateway.security.certificate import of_peer
from gateway.security.identity import Identity

IDLE, HEAD, BODY = range(3)

#: seconds that a refused connection is still read from
LINGER = 2.0


class Connection(asyncio.Protocol):
    """`_stage`, `_since` and `_received` say how far the request is that is being read: by whom, is intake.py's."""

    service: ClassVar[Service]

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        self.app_state = app_state
        self.loop: asyncio.AbstractEventLoop = _loop or asyncio.get_running_loop()
        self.root_path: str = config.root_path
        self.transport: asyncio.Transport
        self.closed = False
        self._state = server_state
        self._pending: deque[Exchange] = deque()
        self._stage = IDLE
        self._since = 0.0
        self._received = 0
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._top_of_json = b""
        self._prefix = b""
        self._deaf = False
        self._last = False
        self._read_paused = False
        self._write_paused = 0.0
        self._unwritten = 0
        self.drained = asyncio.Event()
        self.drained.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        service = self.service
        self._state.connections.add(self)
        service.opened(self, self.loop)
        self._since = service.now
        if len(service.connections) > service.limits.connections:
            self.refuse(503, "the server has too many connections", "refused")

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._state.connections.discard(self)
        self.service.connections.discard(self)
        self.forget()
        self.drained.set()
        pending, self._pending = self._pending, deque()
        for exchange in pending:
            exchange.abandon()

    def forget(self) -> None:
        """Drops what was read of a request that will not be answered as one."""

    def eof_received(self) -> None:
        """A client that has closed its side is taken as gone; the transport closes, and pending work is cancelled."""

    @cached_property
    def client(self) -> str:
        """The peer's address, without its port."""
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if peer else ""

    @cached_property
    def certificate(self) -> Identity | None:
        """Whom the client's certificate names, which was verified; None where it has none."""
        tls = self.transport.get_extra_info("ssl_object")
        return of_peer(tls.getpeercert()) if tls is not None else None

    def pause_writing(self) -> None:
        self._write_paused = self.service.now
        self._unwritten = self.transport.get_write_buffer_size()
        self.drained.clear()
        self._pause_reading()

    def resume_writing(self) -> None:
        self._write_paused = 0.0
        self.drained.set()
        self._resume_reading()

    def _pause_reading(self) -> None:
        if not self._read_paused and not self.closed:
            self._read_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if (
            self._read_paused
            and not self.closed
            and not self._write_paused
            and len(self._pending) < self.service.limits.pipelined
        ):
            self._read_paused = False
            self.transport.resume_reading()

    # ---- replies

    def prefix(self) -> bytes:
        """The Date header's line; uvicorn makes a new list of default headers once a second."""
        headers = self._state.default_headers
        if headers is not self._default_headers:
            self._default_headers = headers
            self._prefix = head.lines(headers)
            self._top_of_json = head.status_line(200) + self._prefix + head.JSON + b"content-length: %d\r\n\r\n"
        return self._prefix

    def top_of_json(self) -> bytes:
        """The head of the most frequent reply, with its length left to fill in."""
        if self._state.default_headers is not self._default_headers:
            self.prefix()
        return self._top_of_json

    def closes_after(self, exchange: Exchange) -> bool:
        """Whether its reply is to say that it is the connection's last."""
        if not exchange.keep_alive:
            return True
        return (self._last or self.service.draining) and self._pending[-1] is exchange

    def turn(self, exchange: Exchange) -> bool:
        """Whether it may write now."""
        return bool(self._pending) and self._pending[0] is exchange

    def replace(self, exchange: Exchange, by: Exchange) -> None:
        """In its place in the order of replies."""
        self._pending[self._pending.index(exchange)] = by
        by.start()

    def settled(self, exchange: Exchange) -> None:
        """The exchange has its whole reply: what can be written in order, is."""
        pending = self._pending
        while pending and (parts := pending[0].reply) is not None:
            done = pending.popleft()
            if not self.closed:
                if self._write_paused:
                    self._unwritten += sum(map(len, parts))
                if len(parts) == 1:
                    self.transport.write(parts[0])
                elif parts:
                    self.transport.writelines(parts)
            if not done.keep_alive:
                self._finish(linger=done.lingers)
                return
        if pending:
            pending[0].may_write()
        if self._read_paused:
            self._resume_reading()

    def _finish(self, *, linger: bool) -> None:
        """Closes; but while a client still sends what was refused, closing would reset the reply before it is read."""
        if self.closed:
            return
        self._deaf = True
        self._since = self.service.now
        if linger and self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def refuse(self, status: int, message: str, counter: str) -> None:
        """Answers what is no request that could be carried on with, and closes once that is written."""
        self.service.counters[counter] += 1
        self._end_with(Refusal(self, status, message))

    def deny(self, error: SluiceError) -> None:
        """The same for a request that is not to be read on, because of who sends it."""
        self._end_with(Denial(self, False, error, lingers=True))

    def _end_with(self, last: Exchange) -> None:
        self._deaf = self._last = True
        self.forget()
        self._pending.append(last)
        last.start()

    # ---- time

    def sweep(self, now: float) -> None:
        """Called once a second."""
        limits = self.service.limits
        age = now - self._since
        if self._write_paused:
            self._sweep_writing(now)
        elif self._deaf:
            patience = limits.body_timeout if self.transport.get_write_buffer_size() else LINGER
            if not self._pending and age > patience:
                self.transport.abort()
        elif self._read_paused or (self._stage == IDLE and self._pending):
            self._since = now  # the client waits for us
        elif self._stage == HEAD and age > limits.head_timeout:
            self.refuse(408, f"the request's head did not arrive within {limits.head_timeout:g} s", "timeouts")
        elif self._stage == BODY and age > limits.body_timeout + self._received / limits.min_rate:
            self.refuse(408, "the request's body arrives too slowly", "timeouts")
        elif self._stage == IDLE and age > limits.idle_timeout:
            # closing waits until all is written: for a client that reads, one sweep is enough
            (self.transport.abort if self.transport.is_closing() else self.transport.close)()

    def _sweep_writing(self, now: float) -> None:
        """A client that does not read its replies holds memory: it must make progress."""
        limits = self.service.limits
        if now - self._write_paused > limits.body_timeout:
            left = self.transport.get_write_buffer_size()
            if self._unwritten - left < limits.body_timeout * limits.min_rate:
                self.service.counters["timeouts"] += 1
                self.transport.abort()
                return
            self._write_paused, self._unwritten = now, left

    def shutdown(self) -> None:
        """uvicorn's call when it stops: requests that have begun are answered, then the connection closes."""
        self._last = True
        if self._pending:
            self._pending[-1].last_call()
        # a request may be in the socket's buffer already: the loop reads it before this comes round
        self.loop.call_later(0.05, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self.closed and not self._pending and self._stage == IDLE:
            self.transport.close()
