"""What is counted of each model version: plain numbers, written by the event loop's thread only.

The counters are those of the protocol's statistics extension; exporters read them when they are asked.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import Final

from gateway.core.errors import SluiceError
from gateway.core.infer import InferRequest

#: upper bounds of the latency histogram in nanoseconds; log-spaced, so that shards merge exactly
LATENCY_BOUNDS: Final = tuple(
    round(base * 10**exponent) for exponent in range(4, 11) for base in (1, 1.8, 3.2, 5.6)
)  # 10 µs … 56 s

REASON_OF: Final = {
    "UNAVAILABLE": "REJECTED",
    "RESOURCE_EXHAUSTED": "REJECTED",
    "CANCELLED": "CANCELED",
    "INTERNAL": "BACKEND",
    "DEADLINE_EXCEEDED": "BACKEND",
}


class BatchStatistics:
    """Executions of one batch size. Times in nanoseconds."""

    __slots__ = ("count", "infer_ns", "input_ns", "output_ns")

    def __init__(self) -> None:
        self.count = 0
        self.input_ns = 0
        self.infer_ns = 0
        self.output_ns = 0


class Statistics:
    """The life of one model version in numbers. Times in nanoseconds, those of the day by `time.perf_counter_ns()`."""

    __slots__ = (
        "batches", "executions", "fail_count", "fail_ns", "failures", "infer_ns", "input_ns", "last_inference",
        "latency", "output_ns", "queue_ns", "rows", "success_count", "success_ns",
    )  # fmt: skip

    def __init__(self) -> None:
        self.success_count = 0
        self.success_ns = 0
        self.fail_count = 0
        self.fail_ns = 0
        self.queue_ns = 0
        self.input_ns = 0
        self.infer_ns = 0
        self.output_ns = 0
        #: rows scored by requests that succeeded
        self.rows = 0
        #: runs of the model, however many requests each one served
        self.executions = 0
        self.last_inference = 0
        #: reason → failures, the reasons of ``nv_inference_request_failure``
        self.failures: dict[str, int] = {"REJECTED": 0, "CANCELED": 0, "BACKEND": 0, "OTHER": 0}
        #: rows of the batch → its executions
        self.batches: dict[int, BatchStatistics] = {}
        #: successful requests by `LATENCY_BOUNDS`, the last bucket being everything above
        self.latency: list[int] = [0] * (len(LATENCY_BOUNDS) + 1)

    def executed(self, rows: int, input_ns: int, infer_ns: int, output_ns: int) -> None:
        """One run of the model over `rows` rows."""
        self.executions += 1
        batch = self.batches.get(rows)
        if batch is None:
            batch = self.batches[rows] = BatchStatistics()
        batch.count += 1
        batch.input_ns += input_ns
        batch.infer_ns += infer_ns
        batch.output_ns += output_ns

    def succeeded(self, request: InferRequest) -> None:
        """Called after the reply was encoded, so that `compute_output` has the encoding in it."""
        now = time.perf_counter_ns()
        total = now - request.arrived
        self.success_count += 1
        self.rows += request.rows
        self.success_ns += total
        self.input_ns += request.queued - request.arrived
        self.queue_ns += request.started - request.queued
        self.infer_ns += request.computed - request.started
        self.output_ns += now - request.computed
        self.latency[bisect_left(LATENCY_BOUNDS, total)] += 1
        self.last_inference = now

    def failed(self, request: InferRequest, error: SluiceError) -> None:
        self.fail_count += 1
        self.fail_ns += time.perf_counter_ns() - request.arrived
        self.failures[REASON_OF.get(error.code, "OTHER")] += 1
