"""ModelInfer, from a message's bytes to the reply's: nothing is awaited where the model runs inline."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from gateway.codecs.layout import Layouts
from gateway.codecs.protobuf import decode, encode, error_in_stream, in_stream
from gateway.codecs.protobuf import request_id as request_id_of
from gateway.codecs.wishes import RAW, Regions, ReplyForm
from gateway.core.errors import DeadlineExceeded, Internal, SluiceError, TooLarge, Unavailable
from gateway.core.infer import InferRequest, InferResponse, Outcome
from gateway.dataplane import Dataplane
from gateway.protocols.checkpoint import Checkpoint, Credentials
from gateway.protocols.grpc.status import details_of
from gateway.security.principal import Principal
from gateway.telemetry.logs import ACCESS
from gateway.telemetry.tracing import TraceContext, Tracer

logger = logging.getLogger("sluice.protocols")
access = logging.getLogger(ACCESS)

#: seconds by which the event loop's timers may fire early
TIMER: Final = 0.005

Metadata = Iterable[tuple[str, str | bytes]]
Told = Callable[["InferCall"], None]


class Terms:
    """What the metadata of calls says of their requests."""

    __slots__ = ("client", "credentials", "key", "principal", "raises", "traceparent", "tracestate")

    def __init__(self, metadata: Metadata, client: str = "", credentials: Credentials | None = None) -> None:
        self.client = client
        self.credentials = credentials
        #: who was let in with them
        self.principal: Principal | None = None
        self.key = ""
        self.traceparent: bytes | None = None
        self.tracestate = b""
        #: an error ends a stream, as a status; else it is told in the stream
        self.raises = False
        for name, value in metadata:
            if name == "sluice-key":
                self.key = str(value)
            elif name == "traceparent":
                self.traceparent = str(value).encode()
            elif name == "tracestate":
                self.tracestate = str(value).encode()
            elif name == "triton_grpc_error":
                self.raises = value == "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """In bytes: a message, and a message without its raw tensors. `in_flight` are requests of one stream."""

    message_bytes: int = 64 << 20
    typed_bytes: int = 8 << 20
    in_flight: int = 32


class Inference:
    """What all infer calls share. Belongs to the event loop's thread."""

    def __init__(
        self,
        dataplane: Dataplane,
        *,
        regions: Regions | None = None,
        limits: Limits | None = None,
        tracer: Tracer | None = None,
        access_log: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.dataplane = dataplane
        self.regions = regions
        self.limits: Final = limits or Limits()
        self.tracer = tracer
        self.access_log = access_log
        #: whether anybody wants to hear of each request
        self.observed = access_log or tracer is not None
        #: neutral code, or "OK" → requests answered so
        self.outcomes: Counter[str] = Counter()
        self.streams = 0
        self.layouts = Layouts()


class InferCall:
    """One request, and what became of it.

    reply    the bytes to send, once it succeeded; in a stream also where it failed
    error    why it failed
    """

    __slots__ = (
        "_deadline",
        "_inference",
        "_request",
        "_terms",
        "_told",
        "_trace",
        "arrived",
        "error",
        "form",
        "reply",
        "streamed",
    )

    def __init__(
        self, inference: Inference, terms: Terms, told: Told, deadline: float = 0.0, streamed: bool = False
    ) -> None:
        """`told` is called once, when it is settled: that may be within `start`. `deadline` is of ``time.monotonic``,
        0 for none."""
        self.arrived = time.perf_counter_ns()
        self.reply: bytes | None = None
        self.error: SluiceError | None = None
        self.form: ReplyForm = RAW
        self.streamed = streamed
        self._inference = inference
        self._terms = terms
        self._told: Told | None = told
        self._deadline = deadline
        self._request: InferRequest | None = None
        self._trace: TraceContext | None = None

    @property
    def settled(self) -> bool:
        return self.reply is not None or self.error is not None

    def cancel(self) -> None:
        """The caller went away, or its time is over: nobody is told any more."""
        self._told = None
        if self._request is not None and not self.settled:
            self._inference.dataplane.cancel(self._request)

    def start(self, body: bytes) -> None:
        """Decodes and submits. Never raises."""
        inference, terms = self._inference, self._terms
        if inference.tracer is not None:
            self._trace = inference.tracer.sample(terms.traceparent, terms.tracestate, "grpc")
        try:
            self._submit(body)
        except Exception as error:  # noqa: BLE001 - whoever asks is answered, whatever goes wrong here
            self._fail(_told(error), body)

    def _submit(self, body: bytes) -> None:
        inference, terms = self._inference, self._terms
        limits = inference.limits
        if len(body) > limits.message_bytes:
            raise TooLarge(f"the message has {len(body)} bytes, the limit is {limits.message_bytes}")
        request, self.form = decode(body, inference.regions, limits.typed_bytes, inference.layouts)
        request.arrived = self.arrived
        request.trace = self._trace
        request.key = terms.key
        if (checkpoint := inference.checkpoint) is not None and checkpoint.active:
            # each request by itself: of a stream, who was let in may have lost the right since
            credentials = terms.credentials or Credentials()
            terms.principal = principal = checkpoint.infer(request.model, credentials, terms.principal)
            if principal.meter is not None:
                request.meter = checkpoint.rows(principal)
        if self._deadline:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded("the deadline was over before the request was read")
            if not request.timeout or left < request.timeout:
                request.timeout = left
        self._request = request
        inference.dataplane.submit(request, self._done)

    def _done(self, outcome: Outcome) -> None:
        if not isinstance(outcome, InferResponse):
            self._fail(self._expired(outcome))
            return
        inference = self._inference
        try:
            signature = self._request.handle.servable.signature  # type: ignore[union-attr]
            parts = encode(outcome, self.form, signature, inference.regions, final=self.streamed)
            self.reply = in_stream(parts) if self.streamed else b"".join(parts)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(_told(error))
            return
        inference.outcomes["OK"] += 1
        self._settle(outcome)

    def _fail(self, error: SluiceError, body: bytes = b"") -> None:
        """`body` of a request that could not be decoded."""
        self.error = error
        self._inference.outcomes[error.code] += 1
        if self.streamed:
            request_id = self._request.id if self._request is not None else request_id_of(body)
            self.reply = error_in_stream(details_of(error), request_id)
        self._settle(error)

    def _settle(self, outcome: Outcome) -> None:
        if self._inference.observed:
            self._observe(outcome)
        told, self._told = self._told, None
        if told is not None:
            told(self)

    def _expired(self, error: SluiceError) -> SluiceError:
        """What ran into the caller's own deadline is told so, and not to try again."""
        deadline = self._deadline
        if deadline and isinstance(error, Unavailable) and time.monotonic() >= deadline - TIMER:
            return DeadlineExceeded("the deadline was over before the request had its turn")
        return error

    def _observe(self, outcome: Outcome) -> None:
        inference, request = self._inference, self._request
        now = time.perf_counter_ns()
        error = outcome if isinstance(outcome, SluiceError) else None
        if self._trace is not None and inference.tracer is not None:
            if request is not None:
                inference.tracer.finish(self._trace, request, outcome, now)
            elif error is not None:
                inference.tracer.refuse(self._trace, "", self.arrived, now, error)
        if inference.access_log:
            access.info(
                "infer %s", error.code if error else "OK",
                extra={
                    "client": self._terms.client,
                    **({"caller": self._terms.principal.name} if self._terms.principal is not None else {}),
                    "model": request.model if request else "",
                    "version": outcome.version if isinstance(outcome, InferResponse) else _version(request),
                    "request_id": request.id if request else "",
                    "milliseconds": round((now - self.arrived) / 1e6, 3),
                },
            )  # fmt: skip


def _version(request: Any) -> str:
    return request.version if request is not None else ""


def _told(error: Exception) -> SluiceError:
    """What the client hears of it."""
    if isinstance(error, SluiceError):
        return error
    logger.error("a request failed", exc_info=error)
    return Internal("internal error; the server's log has the reason")
