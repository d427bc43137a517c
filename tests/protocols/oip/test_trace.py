from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.control.caller import Caller
from gateway.core.errors import InvalidArgument, PermissionDenied
from gateway.protocols.oip.access import Gate
from gateway.protocols.oip.trace import Trace
from gateway.telemetry.tracing import Tracer

BY: Caller = {"actor": "admin", "origin": "rest 127.0.0.1"}
CONTEXT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _trace(tracer: Tracer | None) -> Trace:
    manager: Any = None  # asked for models only
    return Trace(manager, Gate("trace", "restricted.trace", "open"), tracer)


def test_off() -> None:
    trace = _trace(None)
    assert trace.current("") == {
        "trace_level": ["OFF"],
        "trace_rate": ["0"],
        "trace_count": ["-1"],
        "log_frequency": ["0"],
        "trace_mode": ["opentelemetry"],
    }
    with pytest.raises(PermissionDenied, match=r"setting 'tracing\.endpoint' turns it on"):
        asyncio.run(trace.change({"trace_rate": ["1"]}, "", BY))


def test_rate_and_level_change_what_is_sampled_and_nothing_resets_them() -> None:
    tracer = Tracer("http://127.0.0.1:1", ratio=0.01)
    trace = _trace(tracer)
    assert trace.current("")["trace_rate"] == ["100"]
    asyncio.run(trace.change({"trace_rate": ["1"], "trace_count": ["-1"]}, "", BY))
    assert tracer.sample(None) is not None
    asyncio.run(trace.change({"trace_level": ["OFF"]}, "", BY))
    assert trace.current("")["trace_level"] == ["OFF"]
    assert tracer.sample(CONTEXT) is None
    asyncio.run(trace.change({"trace_level": ["TIMESTAMPS"], "trace_rate": ["0"]}, "", BY))
    assert tracer.sample(None) is None
    assert tracer.sample(CONTEXT) is not None
    asyncio.run(trace.change({"trace_level": ["OFF"], "trace_rate": ["7"]}, "", BY))
    asyncio.run(trace.change({"trace_level": [], "trace_rate": []}, "", BY))
    assert trace.current("")["trace_rate"] == ["100"]
    assert trace.current("")["trace_level"] == ["TIMESTAMPS"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trace_level": ["TENSORS"]}, "trace setting 'trace_level' has 'TENSORS', expected OFF or TIMESTAMPS"),
        ({"trace_rate": ["x"]}, "trace setting 'trace_rate' is ['x'], expected one number"),
        ({"trace_rate": ["1", "2"]}, "expected one number"),
        ({"trace_count": ["5"]}, "trace setting 'trace_count' is always -1, got ['5']"),
        ({"trace_file": ["/tmp/x"]}, "unknown trace setting 'trace_file', expected one of trace_level"),
    ],
)
def test_what_cannot_be_set_changes_nothing(changes: dict[str, list[str]], message: str) -> None:
    tracer = Tracer("http://127.0.0.1:1", ratio=0.5)
    with pytest.raises(InvalidArgument) as failure:
        asyncio.run(_trace(tracer).change({"trace_level": ["OFF"]} | changes, "", BY))
    assert message in failure.value.message
    assert (tracer.enabled, tracer.ratio) == (True, 0.5)
