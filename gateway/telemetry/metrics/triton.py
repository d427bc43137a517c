"""The names that dashboards made for Triton read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.telemetry.metrics.exposition import Family, Page
from gateway.telemetry.metrics.versions import VERSION, Labelled, VersionSample

_FAILURE = Family("nv_inference_request_failure", "counter", "Failed requests by reason.", (*VERSION, "reason"))
#: durations in microseconds, of successful requests
_ALIASES: Final[tuple[tuple[Family, Callable[[VersionSample], int]], ...]] = (
    (
        Family("nv_inference_request_success", "counter", "Requests that succeeded.", VERSION),
        lambda s: s.statistics.success_count,
    ),
    (Family("nv_inference_count", "counter", "Rows scored.", VERSION), lambda s: s.statistics.rows),
    (
        Family("nv_inference_exec_count", "counter", "Runs of the model.", VERSION),
        lambda s: s.statistics.executions,
    ),
    (
        Family("nv_inference_pending_request_count", "gauge", "Requests that wait in the queue.", VERSION),
        lambda s: s.pending,
    ),
    (
        Family("nv_inference_request_duration_us", "counter", "Time of requests, in all.", VERSION),
        lambda s: s.statistics.success_ns // 1000,
    ),
    (
        Family("nv_inference_queue_duration_us", "counter", "Time spent in the queue.", VERSION),
        lambda s: s.statistics.queue_ns // 1000,
    ),
    (
        Family("nv_inference_compute_input_duration_us", "counter", "Time spent on inputs.", VERSION),
        lambda s: s.statistics.input_ns // 1000,
    ),
    (
        Family("nv_inference_compute_infer_duration_us", "counter", "Time spent in the model.", VERSION),
        lambda s: s.statistics.infer_ns // 1000,
    ),
    (
        Family("nv_inference_compute_output_duration_us", "counter", "Time spent on outputs.", VERSION),
        lambda s: s.statistics.output_ns // 1000,
    ),
)

FAMILIES: Final = (*(family for family, _ in _ALIASES), _FAILURE)


def write(page: Page, samples: Labelled) -> None:
    for family, read in _ALIASES:
        page.family(family)
        for labels, sample in samples:
            page.sample(family.name, labels, read(sample))
    page.family(_FAILURE)
    for labels, sample in samples:
        for reason, count in sample.statistics.failures.items():
            page.sample(_FAILURE.name, f'{labels},reason="{reason}"', count)
