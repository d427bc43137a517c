"""One HTTP/1.1 connection: bytes to requests, replies in order, and limits on everything that a client controls.

Requests are parsed by httptools (llhttp). Each becomes an exchange, which queues for its turn to be written: so
pipelined requests run at the same time and are answered in order. uvicorn owns the loop, the sockets and the
shutdown, and makes one `Wire` per connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, ClassVar

import httptools

from gateway.codecs.binary import Buffer
from gateway.protocols.http import head
from gateway.protocols.http.asgi import AsgiExchange
from gateway.protocols.http.exchange import Exchange, Refusal
from gateway.protocols.http.heads import END, Known
from gateway.protocols.http.infer import InferExchange, infer_path
from gateway.protocols.http.service import Service

logger = logging.getLogger("sluice.http")

IDLE, HEAD, BODY = range(3)

#: seconds that a refused connection is still read from
LINGER = 2.0


class Wire(asyncio.Protocol):
    """Made by uvicorn, through the subclass that `wire_for` gives it."""

    service: ClassVar[Service]

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        self.app_state = app_state
        self.loop: asyncio.AbstractEventLoop = _loop or asyncio.get_running_loop()
        self.root_path: str = config.root_path
        self.transport: asyncio.Transport
        self.closed = False
        self._state = server_state
        self._parser = self._new_parser()
        self._pending: deque[Exchange] = deque()
        self._stage = IDLE
        self._since = 0.0
        self._received = 0
        #: of those, the ones since the body last grew
        self._barren = 0
        #: bytes of the body that the service counts as held
        self._held = 0
        self._chunk = 0
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

        self._url = b""
        self._headers: head.Headers = []
        self._fields: head.Fields = {}
        self._body: bytes | bytearray = b""
        self._limit = 0
        self._target: tuple[str, str] | None = None
        #: what was read when a request began, until its head is complete
        self._data = b""
        #: the bytes of the body that are to come, where its head was known
        self._awaited = 0

    # ---- asyncio.Protocol

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
        self._forget_body()
        self.drained.set()
        pending, self._pending = self._pending, deque()
        for exchange in pending:
            exchange.abandon()
        self._parser = None

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._awaited:
            self._fill(data)
            return
        if self._stage == IDLE:
            end = data.find(END) + len(END)
            known = self.service.heads.get(data[:end])
            if known is not None and len(data) - end <= known.length:
                self._begin(known, data[end:])
                return
            self._data = data
        self._parse(data)

    def _begin(self, known: Known, body: bytes) -> None:
        """A request whose head is known, and of its body what came along."""
        self._target, self._fields = known.target, known.fields
        if len(body) == known.length:
            self._body = body
            self._complete(InferExchange(self, True, known.target, known.fields, body))
            return
        self._stage = BODY
        self._since = self.service.now
        self._received = 0
        self._limit = self._awaited = known.length
        self._fill(body)

    def _fill(self, data: bytes) -> None:
        awaited = self._awaited
        self.on_body(data if len(data) <= awaited else data[:awaited])
        self._received += len(data)
        if len(data) < awaited:
            self._awaited = awaited - len(data)
            self._hold()
            return
        self._awaited = 0
        if self._deaf or self._target is None:
            return
        self._complete(InferExchange(self, True, self._target, self._fields, self._body))
        if len(data) > awaited:
            self.data_received(data[awaited:])

    def _parse(self, data: bytes) -> None:
        self._chunk = len(data)
        pieces: list[Buffer] = [data]
        while pieces:
            piece = pieces.pop()
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                pieces += memoryview(piece)[upgrade.args[0] :], self._ignore_upgrade()
            except httptools.HttpParserCallbackError:
                # ours, not the client's; where the parser stands is then unknown
                logger.exception("a connection of %s failed", self.client)
                self.transport.abort()
                return
            except httptools.HttpParserError as error:
                if not self._deaf:
                    self.refuse(400, f"malformed HTTP request: {_reason(error)}", "malformed")
            if self._deaf:
                return
        if self._stage != IDLE:
            self._weigh()

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _ignore_upgrade(self) -> bytes:
        """The head again, without its wish for another protocol, for a new parser to read: this one takes what
        follows for that protocol, the request's body too. Java's client wishes for HTTP/2 with each request.
        A server may ignore it (RFC 9110, 7.8).
        """
        method, version = self._parser.get_method(), self._parser.get_http_version()
        if method == b"CONNECT" and not self._deaf:
            self.refuse(405, "CONNECT is not supported, this is no proxy", "malformed")
        lines = head.lines((name, value) for name, value in self._headers if name != b"upgrade")
        again = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._url, version.encode(), lines)
        self._url, self._headers = b"", []
        self._parser = self._new_parser()
        return again

    def _weigh(self) -> None:
        """Holds a request that is not complete yet against the limits."""
        limits = self.service.limits
        # of a request that began within the last chunk, the chunk is not all its own
        began = not self._received
        self._received += max(1, self._head_size()) if began else self._chunk
        if self._stage == HEAD:
            if self._received > limits.head_bytes:
                self.refuse(431, f"the request's head exceeds {limits.head_bytes} bytes", "oversized")
            return
        self._barren = self._barren + self._chunk if len(self._body) == self._held and not began else 0
        slack = 2 * limits.head_bytes
        if self._barren > slack or self._received > len(self._body) * 16 + slack:
            self.refuse(400, "the body's chunks are nearly all framing", "malformed")
        else:
            self._hold()

    def eof_received(self) -> None:
        """A client that has closed its side is taken as gone; the transport closes, and pending work is cancelled."""

    @property
    def client(self) -> str:
        """The peer's address, without its port."""
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if peer else ""

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

    # ---- httptools' callbacks; they run within data_received

    def on_message_begin(self) -> None:
        self._stage = HEAD
        self._since = self.service.now
        self._received = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._stage == HEAD:  # trailers are not taken for headers
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._deaf or self._parser.should_upgrade():
            return None
        limits = self.service.limits
        headers = self._headers
        if len(headers) > limits.head_count:
            return self.refuse(431, f"the request has more than {limits.head_count} header fields", "oversized")
        if len(self._url) > limits.url_bytes:
            return self.refuse(414, f"the request's URL exceeds {limits.url_bytes} bytes", "oversized")
        if self._chunk > limits.head_bytes and self._head_size() > limits.head_bytes:
            return self.refuse(431, f"the request's head exceeds {limits.head_bytes} bytes", "oversized")
        self._stage = BODY
        self._fields = fields = dict(headers)
        self._target = self._infer_target()
        if self._target is not None and b"inference-header-content-length" in fields:
            self._limit = limits.binary_bytes
        else:
            self._limit = limits.load_bytes if self._url.endswith(b"/load") else limits.json_bytes
        length = fields.get(b"content-length")
        if length is not None and (len(length) > 18 or int(length) > self._limit):
            return self._too_large()
        if b"expect" in fields:
            self._continue(fields[b"expect"])
        data, self._data = self._data, b""
        if data and self._target is not None and length is not None and b"expect" not in fields and self._keeps_alive():
            self.service.heads.saw(data, len(headers), Known(self._target, fields, int(length)))
        return None

    def _continue(self, expect: bytes) -> None:
        """RFC 9110, 10.1.1. Between the replies of requests before this one it would be taken for one of theirs."""
        if expect.lower() == b"100-continue" and not self._pending and self._parser.get_http_version() != "1.0":
            self.transport.write(head.CONTINUE)

    def _keeps_alive(self) -> bool:
        """Not with HTTP/1.0, where a client would have to be told."""
        return bool(self._parser.should_keep_alive()) and self._parser.get_http_version() != "1.0"

    def _infer_target(self) -> tuple[str, str] | None:
        if not self.service.infers or self._parser.get_method() != b"POST":
            return None
        return infer_path(self._url)

    def _head_size(self) -> int:
        return len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def on_body(self, chunk: bytes) -> None:
        if self._deaf:
            return
        if not self._body:
            self._body = chunk
        else:
            if type(self._body) is bytes:
                self._body = bytearray(self._body)
            self._body += chunk
        if len(self._body) > self._limit:
            self._too_large()

    def _too_large(self) -> None:
        self.refuse(413, f"the request's body exceeds {self._limit} bytes", "oversized")

    def on_message_complete(self) -> None:
        if self._deaf or self._parser.should_upgrade():
            return
        body = self._body
        keep_alive = self._keeps_alive() and not self._last
        if not keep_alive:
            self._deaf = self._last = True
        if self._target is not None:
            self._complete(InferExchange(self, keep_alive, self._target, self._fields, body))
        else:
            method = self._parser.get_method()
            version = self._parser.get_http_version()
            self._complete(AsgiExchange(self, keep_alive, method, self._url, version, self._headers, body))

    def _complete(self, exchange: Exchange) -> None:
        """A whole request was read."""
        service = self.service
        body = self._body
        service.received_bytes += len(body)
        if self._held:
            self._let_go()
        self._stage = IDLE
        self._since = service.now
        self._url = self._body = b""
        self._headers = []
        pending = self._pending
        pending.append(exchange)
        if len(pending) >= service.limits.pipelined:
            self._pause_reading()
        exchange.start()

    def _hold(self) -> None:
        """Counts what is held of a body that is not complete yet."""
        service = self.service
        service.buffered += len(self._body) - self._held
        self._held = len(self._body)
        if service.buffered > service.limits.buffered_bytes:
            self.refuse(503, "the server holds too many request bodies at the moment", "refused")

    def _let_go(self) -> None:
        self.service.buffered -= self._held
        self._held = 0

    def _forget_body(self) -> None:
        self._let_go()
        self._body = b""

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
        self._deaf = self._last = True
        self._forget_body()
        refusal = Refusal(self, status, message)
        self._pending.append(refusal)
        refusal.start()

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


def wire_for(service: Service) -> type[Wire]:
    """The class that uvicorn's ``Config(http=…)`` takes."""
    return type("Wire", (Wire,), {"service": service})


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
