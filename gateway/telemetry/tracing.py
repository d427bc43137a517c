"""Traces of predictions: one span a request, taken into the caller's trace.

Whether a request is traced is decided before anything is built for it: by the caller's sampled flag where it
sends one, by chance otherwise. Even a traced request pays for little more than a tuple: spans are built and
sent by the exporter's thread.

Headers: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from gateway.core.errors import SluiceError
from gateway.core.infer import InferRequest, Outcome
from gateway.telemetry.otlp import Exporter, Record

#: version, trace id, parent's span id, flags; versions after 00 may append fields
_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 1


class TraceContext:
    """A sampled request's place in its trace. `parent_id` is 0 at the root; ids are as W3C's, big-endian."""

    __slots__ = ("parent_id", "span_id", "trace_id", "tracestate", "transport")

    def __init__(self, trace_id: int, span_id: int, parent_id: int, tracestate: bytes, transport: str) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.tracestate = tracestate
        self.transport = transport

    @property
    def traceparent(self) -> bytes:
        """The header for whoever is called on this request's behalf; `tracestate` goes with it."""
        return b"00-%032x-%016x-01" % (self.trace_id, self.span_id)


class Tracer:
    """Samples requests and hands the finished ones to an OTLP exporter; ``async with`` starts and stops that.

    endpoint        the collector's URL; ``/v1/traces`` is added where it has no path
    ratio           the share of requests that is traced of those whose caller sent no trace context
    flush_timeout   seconds that stopping may spend on sending what is left
    """

    def __init__(
        self,
        endpoint: str,
        *,
        ratio: float = 0.0,
        headers: Mapping[str, str] | None = None,
        service_name: str = "sluice",
        flush_timeout: float = 3.0,
    ) -> None:
        self.ratio = ratio
        #: whether anything is traced at all; this and `ratio` may change at any time
        self.enabled = True
        self._chance = random.random
        self._bits = random.getrandbits
        self.exporter: Final = Exporter(
            endpoint, headers=headers, service_name=service_name, flush_timeout=flush_timeout
        )

    async def __aenter__(self) -> Self:
        """Raises Unsupported where OpenTelemetry is not installed."""
        await self.exporter.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.exporter.close()

    def sample(
        self, traceparent: bytes | None, tracestate: bytes | None = None, transport: str = "http"
    ) -> TraceContext | None:
        """None for a request that is not traced. A malformed header counts as none."""
        if not self.enabled:
            return None
        if traceparent is not None:
            match = _TRACEPARENT.fullmatch(traceparent)
            if match is not None and (match[5] is None or match[1] != b"00") and match[1] != b"ff":
                if not int(match[4], 16) & _SAMPLED:
                    return None
                trace_id, parent_id = int(match[2], 16), int(match[3], 16)
                if trace_id and parent_id:
                    return TraceContext(trace_id, self._bits(64) or 1, parent_id, tracestate or b"", transport)
        if self._chance() >= self.ratio:
            return None
        return TraceContext(self._bits(128) or 1, self._bits(64) or 1, 0, b"", transport)

    def finish(self, context: TraceContext, request: InferRequest, outcome: Outcome, encoded: int) -> None:
        """The request was answered; `encoded` is when its reply was ready, of ``time.perf_counter_ns()``."""
        version = request.handle.id.version if request.handle is not None else request.version
        code = message = ""
        if isinstance(outcome, SluiceError):
            code, message = outcome.code, outcome.message
        else:
            version = outcome.version
        self.exporter.add(
            Record(
                context, request.model, version, request.id, request.rows,
                request.arrived, request.queued, request.started, request.computed, encoded, code, message,
            )
        )  # fmt: skip

    def refuse(self, context: TraceContext, model: str, arrived: int, encoded: int, error: SluiceError) -> None:
        """The request could not be decoded, so that there is no `InferRequest` to tell of. Times as in `finish`."""
        self.exporter.add(Record(context, model, "", "", 0, arrived, 0, 0, 0, encoded, error.code, error.message))
