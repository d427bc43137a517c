"""Spans out of records, by OpenTelemetry's SDK. Imported by the exporter alone, when it starts."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace.span import TraceState

from gateway.telemetry.otlp import Record

#: the codes that are the server's fault; by the conventions the others leave a span's status unset
_FAULTS = frozenset({"INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"})


class SpanBuilder:
    """Belongs to one thread."""

    def __init__(self, service_name: str, service_version: str) -> None:
        self._ids = _Ids()
        self._ended = _Ended()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # who is traced was decided long before
            resource=Resource.create({"service.name": service_name, "service.version": service_version}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(self._ended)
        self._tracer = self._provider.get_tracer("sluice", service_version)

    def build(self, records: Sequence[Record]) -> list[ReadableSpan]:
        # taken anew for each batch: the two clocks drift apart when the system's time is corrected
        epoch = time.time_ns() - time.perf_counter_ns()
        for record in records:
            self._span(record, epoch)
            # this thread only computes: without this the event loop would wait for whole switch intervals
            time.sleep(0)
        return self._ended.take()

    def close(self) -> None:
        self._provider.shutdown()

    def _span(self, record: Record, epoch: int) -> None:
        self._ids.trace_id, self._ids.span_id = record.context.trace_id, record.context.span_id
        span = self._tracer.start_span(
            "inference",
            context=_parent(record),
            kind=trace.SpanKind.SERVER,
            start_time=epoch + record.arrived,
            attributes={"sluice.transport": record.context.transport, "sluice.model": record.model},
        )
        if record.queued:
            span.set_attribute("sluice.version", record.version)
            span.set_attribute("sluice.rows", record.rows)
        if record.id:
            span.set_attribute("sluice.request_id", record.id)
        stages = (("queue", record.queued), ("compute", record.started), ("encode", record.computed))
        for name, ns in stages:
            if ns:
                span.add_event(name, timestamp=epoch + ns)
        if record.code:
            span.set_attribute("error.type", record.code)
        if record.code in _FAULTS:
            span.set_status(trace.StatusCode.ERROR, record.message)
        span.end(epoch + record.encoded)


def _parent(record: Record) -> Context:
    context = record.context
    if not context.parent_id:
        return Context()
    try:
        state = TraceState.from_header([context.tracestate.decode("latin-1")])
    except ValueError:
        state = TraceState()
    parent = trace.SpanContext(
        context.trace_id, context.parent_id, True, trace.TraceFlags(trace.TraceFlags.SAMPLED), state
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())


class _Ids(IdGenerator):
    """The ids were drawn when the request was sampled: whoever was called meanwhile knows them already."""

    trace_id = 0
    span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Ended(SpanProcessor):
    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        taken, self._spans = self._spans, []
        return taken


class Complaints(logging.Handler):
    """Keeps the OTLP exporter's own lines, one or more a batch, out of the log; remembers the first."""

    _LOGGER = "opentelemetry.exporter"

    def __init__(self) -> None:
        super().__init__()
        self.first = ""
        logger = logging.getLogger(self._LOGGER)
        logger.handlers[:] = [self]
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()

    def close(self) -> None:
        logger = logging.getLogger(self._LOGGER)
        logger.removeHandler(self)
        logger.propagate = True
        super().close()
