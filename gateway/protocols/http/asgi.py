"""Everything but infer: one request bridged to an ASGI application. Its body is complete before the app starts."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from gateway.codecs.binary import Buffer
from gateway.protocols.http import head
from gateway.protocols.http.exchange import Exchange, access

if TYPE_CHECKING:
    from gateway.protocols.http.connection import Connection

logger = logging.getLogger("sluice.http")

#: what a proxy's clients put before the path (RFC 9112, 3.2.2)
_ABSOLUTE: Final = re.compile(rb"^https?://[^/?#]*(?=/)", re.IGNORECASE)


Scope = dict[str, Any]


def scope_of(wire: Connection, method: bytes, url: bytes, version: str, headers: head.Headers) -> Scope:
    """`certificate` is whom the client's names, where it has one that was verified."""
    raw_path, _, query = _ABSOLUTE.sub(b"", url).partition(b"?")
    transport = wire.transport
    peer = transport.get_extra_info("peername")
    here = transport.get_extra_info("sockname")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": version,
        "method": method.decode("latin-1"),
        "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
        "path": unquote(raw_path.decode("latin-1")),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": wire.root_path,
        "headers": headers,
        "client": peer[:2] if isinstance(peer, tuple) else None,
        "server": here[:2] if isinstance(here, tuple) else None,
        "state": wire.app_state.copy(),
        "certificate": wire.certificate,
    }


class AsgiExchange(Exchange):
    """ASGI 3, HTTP scope (asgi.readthedocs.io, "HTTP & WebSocket ASGI Message Format" 2.4)."""

    def __init__(
        self,
        wire: Connection,
        keep_alive: bool,
        scope: Scope,
        url: bytes,
        body: Buffer,
    ) -> None:
        super().__init__(wire, keep_alive)
        self._scope = scope
        self._method: str = scope["method"]
        self._version: str = scope["http_version"]
        self._url = url
        self._body: bytes | None = bytes(body)
        self._head_only = self._method == "HEAD"
        self._task: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._turn = asyncio.Event()
        self._started = False
        self._status = 0
        #: the reply's header lines, None once they were written
        self._head: bytes | None = None
        self._chunked = False
        self._close = False

    def start(self) -> None:
        self._task = self.wire.loop.create_task(self._run())

    def may_write(self) -> None:
        self._turn.set()

    def abandon(self) -> None:
        self._gone.set()
        self._turn.set()

    async def _run(self) -> None:
        try:
            await self.wire.service.app(self._scope, self._receive, self._send)
        except Exception:
            logger.exception("%s %s failed", self._method, _printable(self._url))
            if not self._started:
                self.respond_error(500, "internal error")
                return
        if self.reply is None and not self.wire.closed:
            if not self._started:
                logger.error("%s %s: the application gave no reply", self._method, _printable(self._url))
                self.respond_error(500, "internal error")
            else:  # broken off in the middle: the client must not take it for whole
                self.wire.transport.abort()

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.wire.closed or self.reply is not None:
            return
        if message["type"] == "http.response.start":
            if self._started:
                raise RuntimeError("the reply was started twice")
            self._start_reply(message["status"], message.get("headers", ()))
        elif message["type"] == "http.response.body":
            if not self._started:
                raise RuntimeError("a body was sent before the reply was started")
            await self._send_body(message.get("body", b""), more=message.get("more_body", False))

    def _start_reply(self, status: int, headers: Any) -> None:
        self._started = True
        self._status = status
        # HTTP/1.0 knows no chunks: there the end of the connection ends the reply
        self._chunked = status >= 200 and status not in (204, 304) and self._version != "1.0"
        kept = []
        for name, value in headers:
            name = name.lower()
            if name == b"content-length":
                self._chunked = False
            elif name in (b"connection", b"transfer-encoding"):
                self._close |= value.lower() == b"close"
                continue
            kept.append((name, value))
        self._head = head.lines(kept)

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        if not more and self._head is not None:
            # the usual case: the whole reply at once, which may wait for its turn
            self._whole(self._head, body)
            return
        if not self.wire.turn(self):
            await self._turn.wait()
        parts: list[Buffer] = [] if self._head_only else [self._framed(body, last=not more)]
        if self._head is not None:
            parts.insert(0, self._top(self._head))
            self._head = None
        if self.wire.closed:
            return
        self.wire.service.sent_bytes += len(body)
        if more:
            self.wire.transport.writelines(parts)
            await self.wire.drained.wait()
        else:
            self._count()
            self.reply = parts
            self.wire.settled(self)

    def _whole(self, headers: bytes, body: bytes) -> None:
        if self._chunked:
            self._chunked = False
            headers += b"content-length: %d\r\n" % len(body)
        top = self._top(headers)
        self._count()
        self.wire.service.sent_bytes += len(body)
        self.reply = (top,) if self._head_only or not body else (top + body,)
        self.wire.settled(self)

    def _top(self, headers: bytes) -> bytes:
        close = self._close or self.wire.closes_after(self)
        self.keep_alive = not close
        return b"%b%b%b%b%b\r\n" % (
            head.status_line(self._status),
            self.wire.prefix(),
            head.CLOSE if close else b"",
            headers,
            b"transfer-encoding: chunked\r\n" if self._chunked else b"",
        )

    def _framed(self, body: bytes, *, last: bool) -> bytes:
        if not self._chunked:
            return body
        return (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if last else b"")

    def _count(self) -> None:
        self.wire.service.statuses[self._status] += 1
        if self.wire.service.access_log:
            principal = self._scope.get("principal")
            caller = {"caller": principal.name} if principal is not None else {}
            extra = {"client": self.wire.client, **caller}
            access.info("%s %s %d", self._method, _printable(self._url), self._status, extra=extra)


def _printable(url: bytes) -> str:
    return url.decode("latin-1").encode("unicode_escape").decode()
