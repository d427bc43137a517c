"""Requests parsed by httptools (llhttp), and limits on everything that a client controls."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import httptools

from gateway.codecs.binary import Buffer
from gateway.core.errors import SluiceError
from gateway.protocols.http import head
from gateway.protocols.http.admission import Admission
from gateway.protocols.http.asgi import AsgiExchange, scope_of
from gateway.protocols.http.connection import BODY, HEAD, IDLE
from gateway.protocols.http.exchange import Denial, Exchange, Postponed
from gateway.protocols.http.heads import Known
from gateway.protocols.http.host import wrong_host
from gateway.protocols.http.infer import InferExchange, infer_path
from gateway.protocols.http.intake import Intake

logger = logging.getLogger("sluice.http")


class Parsing(Intake):
    """httptools' callbacks run within `_parse`."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._parser = self._new_parser()
        #: bytes of what is being parsed; and of what was received of a request, those since its body last grew
        self._chunk = 0
        self._barren = 0
        self._url = b""
        self._headers: head.Headers = []
        self._admission: Admission | None = None
        #: what was read when a request began, until its head is complete
        self._data = b""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._parser = None  # it holds on to this

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
        if self._drops:
            return  # it is brief
        self._barren = self._barren + self._chunk if len(self._body) == self._held and not began else 0
        slack = 2 * limits.head_bytes
        if self._barren > slack or self._received > len(self._body) * 16 + slack:
            self.refuse(400, "the body's chunks are nearly all framing", "malformed")
        else:
            self._hold(len(self._body))

    # ---- httptools' callbacks, `on_body` besides

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
        if self._received + self._chunk > limits.head_bytes and self._head_size() > limits.head_bytes:
            return self.refuse(431, f"the request's head exceeds {limits.head_bytes} bytes", "oversized")
        fields = dict(headers)
        if wrong := wrong_host(headers, fields, self._parser.get_http_version()):
            return self.refuse(400, f"malformed HTTP request: {wrong}", "malformed")
        self._stage = BODY
        self._fields = fields
        self._target = self._infer_target()
        admission = self._admit()
        if admission is None:
            return None
        if self._target is not None and b"inference-header-content-length" in fields:
            self._limit = limits.binary_bytes
        else:
            self._limit = limits.load_bytes if admission.loads else limits.json_bytes
        length = fields.get(b"content-length")
        if length is not None and (len(length) > 18 or int(length) > self._limit):
            return self._too_large()
        if b"expect" in fields:
            self._continue(fields[b"expect"])
        data, self._data = self._data, b""
        if data and self._target is not None and length is not None and admission.passed and self._recurs(fields):
            known = Known(self._target, fields, int(length), admission.token, admission.principal)
            self.service.heads.saw(data, len(headers), known)
        return None

    def on_message_complete(self) -> None:
        if self._deaf or self._parser.should_upgrade():
            return
        keep_alive = self._keeps_alive() and not self._last
        if not keep_alive:
            self._deaf = self._last = True
        exchange = self._exchange(keep_alive, self._body)
        self._admission, self._drops = None, False
        self._url, self._headers = b"", []
        self._complete(exchange)

    # ---- what a head says

    def _infer_target(self) -> tuple[str, str] | None:
        if not self.service.infers or self._parser.get_method() != b"POST":
            return None
        return infer_path(self._url)

    def _head_size(self) -> int:
        return len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def _keeps_alive(self) -> bool:
        """Not with HTTP/1.0, where a client would have to be told."""
        return bool(self._parser.should_keep_alive()) and self._parser.get_http_version() != "1.0"

    def _recurs(self, fields: head.Fields) -> bool:
        """Whether the same head may come again on this connection."""
        return b"expect" not in fields and self._keeps_alive()

    def _continue(self, expect: bytes) -> None:
        """RFC 9110, 10.1.1. Between the replies of requests before this one it would be taken for one of theirs."""
        if expect.lower() == b"100-continue" and not self._pending and self._parser.get_http_version() != "1.0":
            self.transport.write(head.CONTINUE)

    # ---- who sends it

    def _admit(self) -> Admission | None:
        """Who sends it. None: they are denied, and nothing more is read; of a brief request all is, so that its
        connection can go on."""
        scope = None
        if self._target is None:
            method, version = self._parser.get_method(), self._parser.get_http_version()
            scope = scope_of(self, method, self._url, version, self._headers)
        self._admission = admission = Admission(self._target, self._headers, self._fields, scope)
        if self.service.doorman is not None:
            admission.settle(self.service.doorman, self)
        self._principal = admission.principal
        if admission.denied is not None:
            if not admission.brief:
                self.deny(admission.denied)
                return None
            self._drops = True
        return admission

    def _exchange(self, keep_alive: bool, body: Buffer) -> Exchange:
        admission = self._admission
        if admission is not None and admission.denied is not None:
            return Denial(self, keep_alive, admission.denied)
        if admission is not None and admission.looked is not None:
            return Postponed(self, keep_alive, admission.looked, self._decision(admission, keep_alive, body))
        if self._target is not None:
            return self._infer(keep_alive, self._target, body)
        return AsgiExchange(self, keep_alive, admission.scope if admission else {}, self._url, body)

    def _decision(self, admission: Admission, keep_alive: bool, body: Buffer) -> Callable[[], Exchange]:
        """What becomes of the request that was just read, once it can be said who has sent it. By then others may have
        been read on the same connection."""
        doorman, fields, url = self.service.doorman, self._fields, self._url

        def decide() -> Exchange:
            try:
                admission.ask(doorman, self)  # type: ignore[arg-type]  # it was he who asked for time
            except SluiceError as error:
                return Denial(self, keep_alive, error)
            if admission.target is None:
                return AsgiExchange(self, keep_alive, admission.scope, url, body)
            exchange = InferExchange(self, keep_alive, admission.target, fields, body)
            exchange.principal = admission.principal
            return exchange

        return decide


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
