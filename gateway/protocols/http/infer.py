"""POST …/infer, from the body's bytes to the reply's: the hot path, without a task and without an ASGI scope."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from gateway.codecs.binary import Buffer
from gateway.codecs.body import decode, decode_bare, encode
from gateway.codecs.compression import Decompressor, accepted, compress
from gateway.codecs.wishes import PLAIN, RAW, ReplyForm
from gateway.core.errors import Internal, InvalidArgument, SluiceError, TooLarge, Unsupported
from gateway.core.infer import InferRequest, InferResponse, Outcome
from gateway.protocols.http import head
from gateway.protocols.http.exchange import Exchange, access
from gateway.security.principal import Principal

if TYPE_CHECKING:
    from gateway.protocols.http.connection import Connection

logger = logging.getLogger("sluice.http")

_PATH: Final = re.compile(rb"(?i:https?://[^/?#]*)?/v2/models/([^/?#]+)(?:/versions/([^/?#]+))?/infer/?(?:\?.*)?")
#: compressing, or decompressing, more than so many bytes leaves the event loop for a thread
_BRIEF: Final = 256 << 10
#: bytes up to which a URL is remembered
_BRIEF_URL: Final = 512


def infer_path(url: bytes) -> tuple[str, str] | None:
    """Model and version ("" if none) where the URL is that of an infer request."""
    return _known_path(url) if len(url) <= _BRIEF_URL else _infer_path(url)


def _infer_path(url: bytes) -> tuple[str, str] | None:
    match = _PATH.fullmatch(url)
    if match is None:
        return None
    model, version = match.groups()
    return unquote(model.decode("latin-1")), unquote((version or b"").decode("latin-1"))


_known_path: Final = lru_cache(maxsize=1024)(_infer_path)


class InferExchange(Exchange):
    _request: InferRequest | None = None
    _form: ReplyForm = PLAIN
    _trace: Any = None
    #: who asks, where that counts
    principal: Principal | None = None

    def __init__(
        self, wire: Connection, keep_alive: bool, target: tuple[str, str], fields: head.Fields, body: Buffer
    ) -> None:
        self.wire = wire
        self.keep_alive = keep_alive
        self.arrived = time.perf_counter_ns()
        self._target = target
        self._fields = fields
        self._body: Buffer = body

    def start(self) -> None:
        tracer = self.wire.service.tracer
        fields = self._fields
        if tracer is not None:
            self._trace = tracer.sample(fields.get(b"traceparent"), fields.get(b"tracestate", b""))
        if b"content-encoding" in fields and fields[b"content-encoding"].lower() != b"identity":
            self._decompress(fields[b"content-encoding"].strip().lower())
        else:
            self._submit(self._body)

    def _submit(self, body: Buffer) -> None:
        service = self.wire.service
        fields = self._fields
        model, version = self._target
        self._body = b""
        try:
            length = fields.get(b"inference-header-content-length")
            if length is None:
                request, self._form = decode(body, None, model, version, service.regions)
            elif length == b"0":
                version, signature = service.dataplane.resolve(model, version, self._key())
                request, self._form = decode_bare(body, model, version, signature), RAW
            else:
                json_length = _json_length(length, body, service.limits.json_bytes)
                request, self._form = decode(body, json_length, model, version, service.regions)
        except Exception as error:  # noqa: BLE001 - whoever asks is answered, whatever goes wrong here
            self._finish_error(self._told(error))
            return
        request.arrived = self.arrived
        request.trace = self._trace
        if b"sluice-key" in fields:
            request.key = self._key()
        if (principal := self.principal) is not None and principal.meter is not None and service.doorman is not None:
            request.meter = service.doorman.rows(principal)
        self._request = request
        service.dataplane.submit(request, self._done)

    def _key(self) -> str:
        return self._fields.get(b"sluice-key", b"").decode("latin-1")

    def _done(self, outcome: Outcome) -> None:
        if self.wire.closed:
            return
        if not isinstance(outcome, InferResponse):
            self._finish_error(outcome)
            return
        service = self.wire.service
        try:
            signature = self._request.handle.servable.signature  # type: ignore[union-attr]
            parts, length = encode(outcome, self._form, signature, service.regions)
        except Exception as error:  # noqa: BLE001 - as above
            self._finish_error(self._told(error))
            return
        headers = head.JSON if length is None else head.BINARY % length
        if b"accept-encoding" in self._fields:
            self._compress(headers, parts)
        else:
            self.respond(200, headers, parts)
        if service.observed:
            self._observe(outcome)

    def _finish_error(self, error: SluiceError, headers: bytes = b"") -> None:
        self.fail(error, headers)
        if self.wire.service.observed:
            self._observe(error)

    def _told(self, error: BaseException) -> SluiceError:
        """What the client hears of it."""
        if isinstance(error, SluiceError):
            return error
        logger.error("a request to %s failed", self._target[0], exc_info=error)
        return Internal("internal error; the server's log has the reason")

    def _observe(self, outcome: Outcome) -> None:
        service = self.wire.service
        request = self._request
        now = time.perf_counter_ns()
        error = outcome if isinstance(outcome, SluiceError) else None
        if self._trace is not None:
            if request is not None:
                service.tracer.finish(self._trace, request, outcome, now)
            elif error is not None:
                service.tracer.refuse(self._trace, self._target[0], self.arrived, now, error)
        if service.access_log:
            access.info(
                "infer %s", error.code if error else "OK",
                extra={
                    "client": self.wire.client,
                    **({"caller": self.principal.name} if self.principal is not None else {}),
                    "model": self._target[0],
                    "version": outcome.version if isinstance(outcome, InferResponse) else self._target[1],
                    "request_id": request.id if request else "",
                    "milliseconds": round((now - self.arrived) / 1e6, 3),
                },
            )  # fmt: skip

    def abandon(self) -> None:
        service = self.wire.service
        if self._request is not None:
            service.dataplane.cancel(self._request)

    # ---- compression

    def _decompress(self, coding: bytes) -> None:
        limits = self.wire.service.limits
        binary = b"inference-header-content-length" in self._fields
        try:
            decompressor = Decompressor(coding, limits.binary_bytes if binary else limits.json_bytes)
            body = decompressor.feed(self._body, _BRIEF)
        except Unsupported as error:
            self._finish_error(error, b"accept-encoding: gzip, deflate\r\n")
            return
        except SluiceError as error:
            self._finish_error(error)
            return
        self._body = b""
        if decompressor.finished:
            self._submit(body)
        else:
            self._in_thread(decompressor.rest, self._submit)

    def _compress(self, headers: bytes, parts: list[Buffer]) -> None:
        wishes = self.wire.service.compression
        size = sum(map(len, parts))
        coding = accepted(self._fields[b"accept-encoding"]) if wishes.level and size >= wishes.min_bytes else b""
        if not coding:
            self.respond(200, headers, parts)
            return
        headers = headers + b"content-encoding: %b\r\nvary: accept-encoding\r\n" % coding
        if size <= _BRIEF:
            self.respond(200, headers, [compress(parts, coding, wishes.level)])
            return
        self._in_thread(lambda: compress(parts, coding, wishes.level), lambda body: self.respond(200, headers, [body]))

    def _in_thread(self, work: Callable[[], bytes], then: Callable[[bytes], None]) -> None:
        """`then` is called on the loop with what `work` returned."""

        def finished(future: asyncio.Future[bytes]) -> None:
            if future.cancelled() or self.wire.closed:
                return
            error = future.exception()
            if error is None:
                then(future.result())
            else:
                self._finish_error(self._told(error))

        self.wire.loop.run_in_executor(self.wire.service.coding, work).add_done_callback(finished)


def _json_length(value: bytes, body: Buffer, limit: int) -> int:
    """The header Inference-Header-Content-Length, checked against the body and the limit of JSON in bytes."""
    if not value.isdigit() or len(value) > 18:
        raise InvalidArgument(
            f"'Inference-Header-Content-Length' is '{value.decode('latin-1')}', expected a whole number"
        )
    length = int(value)
    if length > len(body):
        raise InvalidArgument(f"'Inference-Header-Content-Length' is {length}, but the body has {len(body)} bytes")
    if length > limit:
        raise TooLarge(f"the JSON of the request exceeds {limit} bytes")
    return length
