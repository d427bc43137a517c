"""One request and its reply on a connection, whatever answers it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from gateway.codecs.binary import Buffer
from gateway.codecs.json import quote
from gateway.core.errors import SluiceError
from gateway.protocols.errors import headers_of, status_of
from gateway.protocols.http import head
from gateway.telemetry.logs import ACCESS

if TYPE_CHECKING:
    from gateway.protocols.http.connection import Connection

access = logging.getLogger(ACCESS)

#: characters of an error
LONGEST_MESSAGE: Final = 2000


class Exchange:
    """`reply` is None until the whole reply is known; the connection writes it when its turn has come."""

    reply: Sequence[Buffer] | None = None
    #: after the reply, what the client still sends is read and dropped before the connection closes
    lingers: bool = False

    def __init__(self, wire: Connection, keep_alive: bool) -> None:
        self.wire = wire
        self.keep_alive = keep_alive

    def start(self) -> None:
        raise NotImplementedError

    def may_write(self) -> None:
        """Its turn has come before its reply was whole."""

    def last_call(self) -> None:
        """It is the connection's last: a reply that waits for its turn has yet to say so."""
        if self.reply and self.keep_alive:
            self.keep_alive = False
            first, *others = self.reply
            line, end, rest = bytes(first).partition(b"\r\n")
            self.reply = (line + end + head.CLOSE + rest, *others)

    def abandon(self) -> None:
        """The client has gone."""

    def respond(self, status: int, headers: bytes, parts: list[Buffer]) -> None:
        wire = self.wire
        if wire.closed:
            return
        service = wire.service
        service.statuses[status] += 1
        length = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        service.sent_bytes += length
        if wire.closes_after(self):
            self.keep_alive = False
        elif headers is head.JSON and status == 200:
            self.reply = (wire.top_of_json() % length + parts[0],)
            wire.settled(self)
            return
        top = b"%b%b%b%bcontent-length: %d\r\n\r\n" % (
            head.status_line(status), wire.prefix(), b"" if self.keep_alive else head.CLOSE, headers, length,
        )  # fmt: skip
        # one write for a small reply; large blobs are not copied
        self.reply = (top + parts[0],) if len(parts) == 1 else (top, *parts)
        wire.settled(self)

    def respond_error(self, status: int, message: str, headers: bytes = b"") -> None:
        if len(message) > LONGEST_MESSAGE:  # it may quote what the client sent
            message = message[:LONGEST_MESSAGE] + "…"
        self.respond(status, head.JSON + headers, [b'{"error":%b}' % quote(message)])

    def fail(self, error: SluiceError, headers: bytes = b"") -> None:
        headers += head.lines((name.lower().encode(), value.encode()) for name, value in headers_of(error).items())
        self.respond_error(status_of(error), error.message, headers)


class Refusal(Exchange):
    """The answer to what could not be read as a request."""

    lingers = True

    def __init__(self, wire: Connection, status: int, message: str) -> None:
        super().__init__(wire, keep_alive=False)
        self._status = status
        self._message = message

    def start(self) -> None:
        self.respond_error(self._status, self._message)


class Denial(Exchange):
    """The answer to a request whose head is good, but not its sender. What came of its body was not kept."""

    def __init__(self, wire: Connection, keep_alive: bool, error: SluiceError, *, lingers: bool = False) -> None:
        super().__init__(wire, keep_alive)
        self.lingers = lingers
        self._error = error

    def start(self) -> None:
        self.fail(self._error)


class Postponed(Exchange):
    """One whose sender is known only once the keys of an issuer were looked at: `decide` says then what it is."""

    def __init__(
        self, wire: Connection, keep_alive: bool, looked: asyncio.Future[None], decide: Callable[[], Exchange]
    ) -> None:
        super().__init__(wire, keep_alive)
        self._looked = looked
        self._decide = decide

    def start(self) -> None:
        self._looked.add_done_callback(self._go_on)

    def abandon(self) -> None:
        self._looked.remove_done_callback(self._go_on)

    def _go_on(self, looked: asyncio.Future[None]) -> None:
        if not self.wire.closed:
            self.wire.replace(self, self._decide())
