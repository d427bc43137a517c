"""Sends spans to an OpenTelemetry collector by OTLP over HTTP, from a thread of its own.

OpenTelemetry is imported when the exporter starts, and never where no collector is configured.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from gateway import __version__
from gateway.core.errors import Unsupported

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    from gateway.telemetry.spans import Complaints, SpanBuilder

log = logging.getLogger("sluice.traces")

#: spans that wait for the collector; the oldest give way
QUEUE: Final = 8192
BATCH: Final = 128
#: seconds that a span waits for others, and that one request to the collector may take with its retries
DELAY: Final = 1.0
TIMEOUT: Final = 10.0
#: seconds that the thread has to end once it was told to
GRACE: Final = 0.2


class Context(Protocol):
    """What a span needs of its trace context."""

    trace_id: int
    span_id: int
    parent_id: int
    tracestate: bytes
    transport: str


class Record(NamedTuple):
    """A finished request. Times are ``time.perf_counter_ns()``, 0 for a stage that it never came to."""

    context: Context
    model: str
    version: str
    id: str
    rows: int
    arrived: int
    queued: int
    started: int
    computed: int
    encoded: int
    code: str
    message: str


class Exporter:
    """A bounded queue and the thread that empties it. `add` never waits and never fails."""

    def __init__(
        self, endpoint: str, *, headers: Mapping[str, str] | None, service_name: str, flush_timeout: float
    ) -> None:
        self.endpoint: Final = endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + "/v1/traces"
        self._headers = dict(headers or {})
        self._service_name = service_name
        self._flush_timeout = flush_timeout
        self._queue: deque[Record] = deque(maxlen=QUEUE)
        self._wake = threading.Event()
        self._closing = False
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._exporter: OTLPSpanExporter
        self._builder: SpanBuilder
        self._complaints: Complaints
        self._failing = False
        #: spans that never reached the collector
        self.dropped = 0

    async def start(self) -> None:
        """Raises Unsupported where OpenTelemetry is not installed."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            from gateway.telemetry.spans import Complaints, SpanBuilder
        except ImportError as error:
            raise Unsupported("traces need OpenTelemetry: pip install 'sluice[otel]'") from error
        self._exporter = OTLPSpanExporter(endpoint=self.endpoint, headers=self._headers, timeout=TIMEOUT)
        self._builder = SpanBuilder(self._service_name, __version__)
        self._complaints = Complaints()
        self._thread.start()

    def add(self, record: Record) -> None:
        queue = self._queue
        if len(queue) == QUEUE:
            self.dropped += 1
        queue.append(record)
        # setting an event takes a lock: only for a full batch, the rest goes within `DELAY`
        if len(queue) == BATCH:
            self._wake.set()

    async def close(self) -> None:
        """Sends what is left, and gives up after `flush_timeout`."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._deadline = time.monotonic() + self._flush_timeout
        self._closing = True
        self._wake.set()
        self._thread.join(self._flush_timeout)
        # ends the wait between two tries; a thread that is stuck in a connection is a daemon, and left behind
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
        self._thread.join(GRACE)
        if self._queue:
            log.warning("traces: gave up on %d spans after %.1f s", len(self._queue), self._flush_timeout)
        if not self._thread.is_alive():
            self._complaints.close()
            self._builder.close()

    def _run(self) -> None:
        while True:
            # read first: what was added before it was set is then sent
            closing = self._closing
            while self._queue and time.monotonic() < self._deadline:
                self._send([self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))])
            if closing:
                return
            self._wake.wait(DELAY)
            self._wake.clear()

    def _send(self, records: list[Record]) -> None:
        self._complaints.first = ""
        try:
            sent = self._exporter.export(self._builder.build(records)).name == "SUCCESS"
            reason = self._complaints.first
        except Exception as error:  # noqa: BLE001 (the thread's top: traces must not end with one bad span)
            sent, reason = False, f"{type(error).__name__}: {error}"
        if not sent:
            self.dropped += len(records)
        if sent == self._failing:
            self._failing = not sent
            if sent:
                log.info("traces: %s takes spans again", self.endpoint)
            else:
                log.warning("traces: %s takes no spans (%s); said once", self.endpoint, reason)
