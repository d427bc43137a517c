from __future__ import annotations

import asyncio
import logging
import queue
import socket
import subprocess
import sys
import threading
import time
import timeit
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.core.errors import Internal, InvalidArgument, Unsupported
from gateway.core.infer import InferRequest, InferResponse
from gateway.core.servable import ServableId
from gateway.telemetry import otlp
from gateway.telemetry.tracing import Tracer

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01".encode()
UNSAMPLED = f"00-{TRACE}-{PARENT}-00".encode()


class Collector:
    """A real OTLP/HTTP receiver on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self.received: queue.Queue[tuple[dict[str, str], ExportTraceServiceRequest]] = queue.Queue()
        self.refused: queue.Queue[bytes] = queue.Queue()
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if collector.status == 200:
                    request = ExportTraceServiceRequest.FromString(body)
                    collector.received.put(({"path": self.path, **self.headers}, request))
                else:
                    collector.refused.put(body)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def spans(self) -> list[Span]:
        """What came until now, which must be something."""
        requests = [self.received.get(timeout=5)[1]]
        while not self.received.empty():
            requests.append(self.received.get()[1])
        scopes = [s for r in requests for resource in r.resource_spans for s in resource.scope_spans]
        return [span for scope in scopes for span in scope.spans]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def _request() -> InferRequest:
    request = InferRequest("m", "canary", "r-1", {})
    request.arrived = time.perf_counter_ns()
    request.rows = 3
    request.queued = request.arrived + 1_000
    request.started = request.arrived + 30_000
    request.computed = request.arrived + 500_000
    return request


def _attributes(span: Span) -> dict[str, Any]:
    values = {a.key: a.value for a in span.attributes}
    return {k: getattr(v, v.WhichOneof("value")) for k, v in values.items()}


ANSWER = InferResponse("m", "2", "r-1", {})


def test_span_with_times_events_and_attributes(collector: Collector) -> None:
    async def main() -> InferRequest:
        async with Tracer(collector.endpoint, headers={"x-tenant": "t"}, service_name="gate") as tracer:
            context = tracer.sample(SAMPLED, b"vendor=1,other=2")
            assert context is not None
            request = _request()
            tracer.finish(context, request, ANSWER, request.arrived + 600_000)
            assert context.traceparent.decode() == f"00-{TRACE}-{context.span_id:016x}-01"
            return request

    request = asyncio.run(main())
    headers, message = collector.received.get(timeout=5)
    assert headers["path"] == "/v1/traces"
    assert headers["x-tenant"] == "t"
    resource = {a.key: a.value.string_value for a in message.resource_spans[0].resource.attributes}
    assert resource["service.name"] == "gate"
    (span,) = message.resource_spans[0].scope_spans[0].spans
    assert (span.name, span.kind) == ("inference", Span.SPAN_KIND_SERVER)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.trace_state == "vendor=1,other=2"
    assert _attributes(span) == {
        "sluice.model": "m",
        "sluice.version": "2",
        "sluice.rows": 3,
        "sluice.transport": "http",
        "sluice.request_id": "r-1",
    }
    start = span.start_time_unix_nano
    assert abs(start - time.time_ns() + time.perf_counter_ns() - request.arrived) < 1_000_000_000
    assert span.end_time_unix_nano - start == 600_000
    assert [(e.name, e.time_unix_nano - start) for e in span.events] == [
        ("queue", 1_000),
        ("compute", 30_000),
        ("encode", 500_000),
    ]
    assert span.status.code == 0


def test_errors(collector: Collector) -> None:
    async def main() -> None:
        async with Tracer(collector.endpoint, ratio=1.0) as tracer:
            for error in (Internal("it broke"), InvalidArgument("wrong shape")):
                context = tracer.sample(None, transport="grpc")
                assert context is not None
                request = _request()
                request.computed = 0
                request.handle = SimpleNamespace(id=ServableId("m", "7"))
                tracer.finish(context, request, error, request.arrived + 1)
                tracer.refuse(context, "m", request.arrived, request.arrived + 1, error)

    asyncio.run(main())
    internal, refused_internal, wrong, refused = collector.spans()
    assert _attributes(internal)["error.type"] == "INTERNAL"
    assert _attributes(internal)["sluice.version"] == "7"
    assert _attributes(internal)["sluice.transport"] == "grpc"
    assert (internal.status.code, internal.status.message) == (2, "it broke")
    assert [e.name for e in internal.events] == ["queue", "compute"]
    assert internal.parent_span_id == b""
    assert _attributes(wrong)["error.type"] == "INVALID_ARGUMENT"
    assert wrong.status.code == refused.status.code == 0
    assert refused_internal.status.code == 2
    assert not refused.events
    assert _attributes(refused) == {
        "sluice.transport": "grpc",
        "sluice.model": "m",
        "error.type": "INVALID_ARGUMENT",
    }


def test_sampling() -> None:
    never, always = Tracer("http://localhost", ratio=0.0), Tracer("http://localhost", ratio=1.0)
    half = Tracer("http://localhost", ratio=0.5)
    assert never.sample(None) is None
    assert never.sample(SAMPLED) is not None
    assert always.sample(UNSAMPLED) is None
    assert always.sample(None) is not None
    assert 800 < sum(half.sample(None) is not None for _ in range(2000)) < 1200
    future = never.sample(b"cc" + SAMPLED[2:] + b"-more")
    assert future is not None
    assert f"{future.trace_id:032x}" == TRACE


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff\x00",
        SAMPLED[:-1],
        SAMPLED + b"-more",
        SAMPLED.upper(),
        b"ff" + SAMPLED[2:],
        SAMPLED.replace(TRACE.encode(), b"0" * 32),
        SAMPLED.replace(PARENT.encode(), b"0" * 16),
        SAMPLED + b"\n",
    ],
)
def test_malformed_header_counts_as_none(header: bytes) -> None:
    assert Tracer("http://localhost", ratio=0.0).sample(header) is None
    context = Tracer("http://localhost", ratio=1.0).sample(header, b"a=1")
    assert context is not None
    assert context.parent_id == 0
    assert f"{context.trace_id:032x}" != TRACE
    assert context.tracestate == b""


def test_malformed_tracestate_loses_only_itself(collector: Collector) -> None:
    async def main() -> None:
        async with Tracer(collector.endpoint) as tracer:
            context = tracer.sample(SAMPLED, b"\xff=;;\x00,,")
            assert context is not None
            tracer.finish(context, _request(), ANSWER, time.perf_counter_ns())

    asyncio.run(main())
    (span,) = collector.spans()
    assert span.trace_id.hex() == TRACE


def test_unsampled_requests_cost_next_to_nothing() -> None:
    tracer = Tracer("http://localhost", ratio=0.000_001)
    seconds = min(timeit.repeat(lambda: tracer.sample(None), number=10_000, repeat=5)) / 10_000
    assert seconds < 2e-6  # measured: 0.15 µs


def test_unreachable_collector_is_said_once_and_slows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as bound:  # bound, but it does not listen: connections are refused
        bound.bind(("127.0.0.1", 0))

        async def main() -> tuple[Tracer, float]:
            async with Tracer(f"http://127.0.0.1:{bound.getsockname()[1]}", flush_timeout=0.2) as tracer:
                for _ in range(20_000):
                    context = tracer.sample(SAMPLED)
                    assert context is not None
                    tracer.finish(context, _request(), ANSWER, time.perf_counter_ns())
                began = time.monotonic()
            return tracer, time.monotonic() - began

        with caplog.at_level(logging.INFO):
            tracer, seconds = asyncio.run(main())
    assert seconds < 2
    assert tracer.exporter.dropped >= 20_000 - otlp.QUEUE - otlp.BATCH
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) <= 2


def test_collector_that_comes_back_is_said(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    collector.status = 400

    async def main() -> None:
        async with Tracer(collector.endpoint, ratio=1.0, flush_timeout=30.0) as tracer:
            for _ in range(otlp.BATCH):
                context = tracer.sample(None)
                assert context is not None
                tracer.finish(context, _request(), ANSWER, time.perf_counter_ns())
            await asyncio.to_thread(collector.refused.get, timeout=5)
            collector.status = 200
            context = tracer.sample(None)
            assert context is not None
            tracer.finish(context, _request(), ANSWER, time.perf_counter_ns())

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    assert collector.spans()
    messages = [record.getMessage() for record in caplog.records if "traces:" in record.getMessage()]
    assert len(messages) == 2
    assert "takes no spans" in messages[0]
    assert "400" in messages[0]
    assert "takes spans again" in messages[1]


def test_opentelemetry_is_not_imported_unless_started() -> None:
    code = (
        "import sys; from gateway.telemetry.tracing import Tracer; t = Tracer('http://x', ratio=1.0);"
        "assert t.sample(None); print(any(m.startswith('opentelemetry') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_without_opentelemetry_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    async def main() -> None:
        async with Tracer("http://localhost"):
            pass

    with pytest.raises(Unsupported, match=r"sluice\[otel\]"):
        asyncio.run(main())
