"""The request that a connection reads: what is held of its body, and what becomes of it once it is whole."""

from __future__ import annotations

from typing import Any

from gateway.codecs.binary import Buffer
from gateway.protocols.http import head
from gateway.protocols.http.connection import IDLE, Connection
from gateway.protocols.http.exchange import Exchange
from gateway.protocols.http.infer import InferExchange
from gateway.security.principal import Principal


class Intake(Connection):
    """Whatever finds out where a request ends, its body grows here, and is held to the limits."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        #: model and version of an infer request, and the fields of its head
        self._target: tuple[str, str] | None = None
        self._fields: head.Fields = {}
        #: who sends the request, where that counts
        self._principal: Principal | None = None
        self._body: Buffer = b""
        #: bytes of the body: the most that it may have, and those that the service counts as held
        self._limit = 0
        self._held = 0
        #: what comes of the body is not kept: who sends it is denied
        self._drops = False

    def on_body(self, chunk: bytes) -> None:
        """The body grew; httptools calls it, too."""
        if self._deaf or self._drops:
            return
        if not self._body:
            self._body = chunk
        else:
            if not isinstance(self._body, bytearray):
                self._body = bytearray(self._body)
            self._body += chunk
        if len(self._body) > self._limit:
            self._too_large()

    def _too_large(self) -> None:
        self.refuse(413, f"the request's body exceeds {self._limit} bytes", "oversized")

    def _infer(self, keep_alive: bool, target: tuple[str, str], body: Buffer) -> InferExchange:
        exchange = InferExchange(self, keep_alive, target, self._fields, body)
        if self._principal is not None:
            exchange.principal = self._principal
        return exchange

    def _complete(self, exchange: Exchange) -> None:
        """A whole request was read."""
        service = self.service
        body = self._body
        service.received_bytes += len(body)
        if self._held:
            self._let_go()
        self._stage = IDLE
        self._since = service.now
        self._body = b""
        pending = self._pending
        pending.append(exchange)
        if len(pending) >= service.limits.pipelined:
            self._pause_reading()
        exchange.start()

    def _hold(self, size: int) -> None:
        """Counts what is held of a body that is not complete yet."""
        service = self.service
        service.buffered += size - self._held
        self._held = size
        if service.buffered > service.limits.buffered_bytes:
            self.refuse(503, "the server holds too many request bodies at the moment", "refused")

    def _let_go(self) -> None:
        self.service.buffered -= self._held
        self._held = 0

    def forget(self) -> None:
        self._let_go()
        self._body = b""
