"""What each version of a model did."""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.core.observe import LATENCY_BOUNDS, Statistics
from gateway.telemetry.metrics.exposition import Family, Page

VERSION: Final = ("model", "version")
_LATENCY_SECONDS: Final = tuple(bound / 1e9 for bound in LATENCY_BOUNDS)
_BATCH_BOUNDS: Final = tuple(2**power for power in range(11))  # 1 … 1024 rows

#: reasons of `nv_inference_request_failure` → outcomes
_OUTCOMES: Final = {"REJECTED": "rejected", "CANCELED": "canceled", "BACKEND": "failed", "OTHER": "refused"}

_REQUESTS = Family(
    "sluice_requests_total",
    "counter",
    "Requests by outcome: success, rejected (queue full or expired), canceled, failed (the model's or ours),"
    " refused (the request was wrong).",
    (*VERSION, "outcome"),
)
_DURATION = Family(
    "sluice_request_duration_seconds",
    "histogram",
    "Time of successful requests, from their last byte read to their reply encoded.",
    VERSION,
)
_STAGES = Family(
    "sluice_stage_seconds_total",
    "counter",
    "Time of successful requests by stage: input (decoding, admission), queue, infer, output (encoding).",
    (*VERSION, "stage"),
)
_FAILED = Family("sluice_failed_seconds_total", "counter", "Time spent on requests that failed.", VERSION)
_ROWS = Family("sluice_rows_total", "counter", "Rows scored by requests that succeeded.", VERSION)
_RUNS = Family("sluice_executions_total", "counter", "Runs of the model; one run may serve many requests.", VERSION)
_BATCH = Family("sluice_batch_rows", "histogram", "Rows of each run of the model.", VERSION)
_PENDING = Family("sluice_pending_requests", "gauge", "Requests that wait in the version's queue.", VERSION)
_LOADED = Family("sluice_version_loaded", "gauge", "1 while the version is loaded, 0 afterwards.", VERSION, "most")

FAMILIES: Final = (_REQUESTS, _DURATION, _STAGES, _FAILED, _ROWS, _RUNS, _BATCH, _PENDING, _LOADED)


class VersionSample(NamedTuple):
    """One version that is or was loaded. `pending` counts the requests in its queue."""

    model: str
    version: str
    statistics: Statistics
    pending: int
    loaded: bool = True


#: each with its labels, as a sample has them
Labelled = list[tuple[str, VersionSample]]


def write(page: Page, samples: Labelled) -> None:
    _write_requests(page, samples)
    _write_runs(page, samples)


def _write_requests(page: Page, samples: Labelled) -> None:
    page.family(_REQUESTS)
    for labels, sample in samples:
        page.sample(_REQUESTS.name, f'{labels},outcome="success"', sample.statistics.success_count)
        for reason, outcome in _OUTCOMES.items():
            page.sample(_REQUESTS.name, f'{labels},outcome="{outcome}"', sample.statistics.failures[reason])
    page.family(_DURATION)
    for labels, sample in samples:
        s = sample.statistics
        page.histogram(_DURATION.name, labels, _LATENCY_SECONDS, s.latency, s.success_ns / 1e9)
    page.family(_STAGES)
    for labels, sample in samples:
        s = sample.statistics
        stages = (("input", s.input_ns), ("queue", s.queue_ns), ("infer", s.infer_ns), ("output", s.output_ns))
        for stage, ns in stages:
            page.sample(_STAGES.name, f'{labels},stage="{stage}"', ns / 1e9)
    page.family(_FAILED)
    for labels, sample in samples:
        page.sample(_FAILED.name, labels, sample.statistics.fail_ns / 1e9)


def _write_runs(page: Page, samples: Labelled) -> None:
    for family, read in (
        (_ROWS, lambda s: s.statistics.rows),
        (_RUNS, lambda s: s.statistics.executions),
        (_PENDING, lambda s: s.pending),
        (_LOADED, lambda s: int(s.loaded)),
    ):
        page.family(family)
        for labels, sample in samples:
            page.sample(family.name, labels, read(sample))
    page.family(_BATCH)
    for labels, sample in samples:
        counts, total = _batches(sample.statistics)
        page.histogram(_BATCH.name, labels, _BATCH_BOUNDS, counts, total)


def _batches(statistics: Statistics) -> tuple[list[int], int]:
    """Executions by `_BATCH_BOUNDS`, and the rows of all of them."""
    counts = [0] * (len(_BATCH_BOUNDS) + 1)
    total = 0
    for rows, batch in statistics.batches.items():
        # (rows - 1).bit_length() is the exponent of the least power of two that holds them
        counts[min(max(rows - 1, 0).bit_length(), len(_BATCH_BOUNDS))] += batch.count
        total += rows * batch.count
    return counts, total
