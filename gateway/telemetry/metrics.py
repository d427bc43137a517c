"""The page at ``/metrics``: plain numbers that others keep, put into Prometheus's text when it is scraped.

`NAMES` lists every metric; docs/operating.md explains each of them, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, NamedTuple

from gateway.core.observe import LATENCY_BOUNDS, Statistics
from gateway.telemetry import control
from gateway.telemetry.exposition import CONTENT_TYPE, Family, Page, labelled
from gateway.telemetry.process import ProcessFacts, process_facts

__all__ = ["CONTENT_TYPE", "NAMES", "Loads", "Metrics", "SplitSample", "VersionSample"]


class VersionSample(NamedTuple):
    """One version that is or was loaded. `pending` counts the requests in its queue."""

    model: str
    version: str
    statistics: Statistics
    pending: int
    loaded: bool = True


class SplitSample(NamedTuple):
    """One arm of one split. `absent` counts what went to other arms because its version was not there."""

    model: str
    arm: str
    picks: int
    absent: int


class Loads:
    """Loads of models since the start, by model: how many, how many seconds in all, how many that failed."""

    def __init__(self) -> None:
        self.totals: dict[str, tuple[int, float, int]] = {}

    def add(self, model: str, seconds: float | None) -> None:
        """A version was loaded and warmed in so many seconds; None: it failed."""
        count, total, failures = self.totals.get(model, (0, 0.0, 0))
        if seconds is None:
            self.totals[model] = count, total, failures + 1
        else:
            self.totals[model] = count + 1, total + seconds, failures


class GrpcSample(NamedTuple):
    """Infer requests by their outcome, "OK" or an error's neutral code, and the streams that are open."""

    outcomes: Mapping[str, int]
    streams: int


_VERSION = ("model", "version")
_LATENCY_SECONDS: Final = tuple(bound / 1e9 for bound in LATENCY_BOUNDS)
_BATCH_BOUNDS: Final = tuple(2**power for power in range(11))  # 1 … 1024 rows

#: reasons of `nv_inference_request_failure` → outcomes
_OUTCOMES: Final = {"REJECTED": "rejected", "CANCELED": "canceled", "BACKEND": "failed", "OTHER": "refused"}

_REQUESTS = Family(
    "sluice_requests_total",
    "counter",
    "Requests by outcome: success, rejected (queue full or expired), canceled, failed (the model's or ours),"
    " refused (the request was wrong).",
    (*_VERSION, "outcome"),
)
_DURATION = Family(
    "sluice_request_duration_seconds",
    "histogram",
    "Time of successful requests, from their last byte read to their reply encoded.",
    _VERSION,
)
_STAGES = Family(
    "sluice_stage_seconds_total",
    "counter",
    "Time of successful requests by stage: input (decoding, admission), queue, infer, output (encoding).",
    (*_VERSION, "stage"),
)
_FAILED = Family("sluice_failed_seconds_total", "counter", "Time spent on requests that failed.", _VERSION)
_ROWS = Family("sluice_rows_total", "counter", "Rows scored by requests that succeeded.", _VERSION)
_RUNS = Family("sluice_executions_total", "counter", "Runs of the model; one run may serve many requests.", _VERSION)
_BATCH = Family("sluice_batch_rows", "histogram", "Rows of each run of the model.", _VERSION)
_PENDING = Family("sluice_pending_requests", "gauge", "Requests that wait in the version's queue.", _VERSION)
_LOADED = Family("sluice_version_loaded", "gauge", "1 while the version is loaded, 0 afterwards.", _VERSION, "most")
_PICKS = Family("sluice_split_picks_total", "counter", "Requests given to an arm by the split.", ("model", "arm"))
_ABSENT = Family(
    "sluice_split_absent_total",
    "counter",
    "Requests whose arm had no version present, and that went to the others.",
    ("model", "arm"),
)
_LOADS = Family("sluice_model_load_seconds", "summary", "Time of successful loads, warm-up included.", ("model",))
_LOAD_FAILURES = Family("sluice_model_load_failures_total", "counter", "Loads that failed.", ("model",))
_GRPC = Family(
    "sluice_grpc_requests_total", "counter", "Infer requests over gRPC, in streams and alone, by outcome.", ("code",)
)
_STREAMS = Family("sluice_grpc_streams_open", "gauge", "gRPC streams that are open.")
_LIMITS = Family("sluice_http_rejected_total", "counter", "Connections and requests cut off, by reason.", ("reason",))
_DENIED = Family(
    "sluice_auth_denied_total",
    "counter",
    "Requests denied for who sent them, by port and reason: missing, wrong, expired, revoked, unknown_key, forbidden,"
    " quota.",
    ("port", "reason"),
)
_BUILD = Family(
    "sluice_build_info", "gauge", "Always 1; the labels say what runs.", ("version", "python", "runtime"), "most"
)

#: keys of the wire's counters → metrics; keys that begin with ``rejected_`` are values of the label `reason`
_WIRE: Final = {
    "connections_open": Family("sluice_http_connections_open", "gauge", "Connections that are open."),
    "connections": Family("sluice_http_connections_total", "counter", "Connections accepted."),
    "requests": Family("sluice_http_requests_total", "counter", "HTTP requests read, of every route."),
    "received_bytes": Family("sluice_http_received_bytes_total", "counter", "Bytes of request bodies."),
    "sent_bytes": Family("sluice_http_sent_bytes_total", "counter", "Bytes of response bodies."),
}
_REJECTED: Final = "rejected_"


def _each(name: str, kind: Literal["counter", "gauge"], help: str) -> Family:
    return Family(name, kind, help, joined="each")


_PROCESS: Final[tuple[tuple[Family, Callable[[ProcessFacts], float]], ...]] = (
    (_each("process_cpu_seconds_total", "counter", "User and system CPU time."), lambda p: p.cpu_seconds),
    (_each("process_resident_memory_bytes", "gauge", "Resident memory."), lambda p: p.resident_bytes),
    (_each("process_virtual_memory_bytes", "gauge", "Virtual memory."), lambda p: p.virtual_bytes),
    (_each("process_threads", "gauge", "Threads."), lambda p: p.threads),
    (_each("process_open_fds", "gauge", "Open file descriptors."), lambda p: p.open_fds),
    (_each("process_max_fds", "gauge", "The most file descriptors that may be open."), lambda p: p.max_fds),
    (
        _each("process_start_time_seconds", "gauge", "Start, in seconds since the epoch."),
        lambda p: p.started,
    ),
)

_NV_FAILURE = Family("nv_inference_request_failure", "counter", "Failed requests by reason.", (*_VERSION, "reason"))
#: the names that existing dashboards read; durations in microseconds, of successful requests
_ALIASES: Final[tuple[tuple[Family, Callable[[VersionSample], int]], ...]] = (
    (
        Family("nv_inference_request_success", "counter", "Requests that succeeded.", _VERSION),
        lambda s: s.statistics.success_count,
    ),
    (Family("nv_inference_count", "counter", "Rows scored.", _VERSION), lambda s: s.statistics.rows),
    (
        Family("nv_inference_exec_count", "counter", "Runs of the model.", _VERSION),
        lambda s: s.statistics.executions,
    ),
    (
        Family("nv_inference_pending_request_count", "gauge", "Requests that wait in the queue.", _VERSION),
        lambda s: s.pending,
    ),
    (
        Family("nv_inference_request_duration_us", "counter", "Time of requests, in all.", _VERSION),
        lambda s: s.statistics.success_ns // 1000,
    ),
    (
        Family("nv_inference_queue_duration_us", "counter", "Time spent in the queue.", _VERSION),
        lambda s: s.statistics.queue_ns // 1000,
    ),
    (
        Family("nv_inference_compute_input_duration_us", "counter", "Time spent on inputs.", _VERSION),
        lambda s: s.statistics.input_ns // 1000,
    ),
    (
        Family("nv_inference_compute_infer_duration_us", "counter", "Time spent in the model.", _VERSION),
        lambda s: s.statistics.infer_ns // 1000,
    ),
    (
        Family("nv_inference_compute_output_duration_us", "counter", "Time spent on outputs.", _VERSION),
        lambda s: s.statistics.output_ns // 1000,
    ),
)

_FAMILIES: Final = (
    *(_REQUESTS, _DURATION, _STAGES, _FAILED, _ROWS, _RUNS, _BATCH, _PENDING, _LOADED),
    *(_PICKS, _ABSENT, _LOADS, _LOAD_FAILURES, *_WIRE.values(), _LIMITS, _GRPC, _STREAMS, _DENIED, _BUILD),
    *(family for family, _ in _PROCESS),
    *(family for family, _ in _ALIASES),
    _NV_FAILURE,
    *control.FAMILIES,
)

#: every metric and its help
NAMES: Final[Mapping[str, str]] = {family.name: family.help for family in _FAMILIES}


class Metrics:
    """Everything that is scraped. Belongs to the event loop's thread, where the numbers are written as well.

    versions   those that are or were loaded; of one that is named twice the last counts
    loads      added to by whoever loads
    splits     the arms of the splits
    wire       counters of the HTTP wire, by the names in `_WIRE` and ``rejected_<limit>``; no others
    grpc       None where there is no gRPC port
    denied     (port, reason) → requests
    build      values for `sluice_build_info`: version, python, runtime
    """

    def __init__(
        self,
        versions: Callable[[], Iterable[VersionSample]],
        *,
        loads: Loads | None = None,
        splits: Callable[[], Iterable[SplitSample]] = tuple,
        wire: Callable[[], Mapping[str, int]] = dict,
        grpc: Callable[[], GrpcSample | None] = lambda: None,
        denied: Callable[[], Mapping[tuple[str, str], int]] = dict,
        build: Mapping[str, str] | None = None,
    ) -> None:
        self._versions = versions
        self._splits = splits
        self._wire = wire
        self._grpc = grpc
        self._denied = denied
        self._build = build or {}
        self._loads = loads or Loads()

    async def page(self) -> bytes:
        """As `render`; where there are several processes others may have to be asked first."""
        return self.render()

    def render(self) -> bytes:
        """The whole page, of `CONTENT_TYPE`."""
        return self.collect().render()

    def collect(self) -> Page:
        page = Page()
        samples = {(s.model, s.version): s for s in self._versions()}
        of_version = [(labelled(_VERSION, key), s) for key, s in sorted(samples.items())]
        _write_requests(page, of_version)
        _write_runs(page, of_version)
        _write_aliases(page, of_version)
        self._write_splits(page)
        self._write_loads(page)
        self._write_wire(page)
        self._write_grpc(page)
        write_denied(page, self._denied())
        self._write_process(page)
        return page

    def _write_splits(self, page: Page) -> None:
        arms = [(labelled(_PICKS.labels, (s.model, s.arm)), s) for s in self._splits()]
        page.family(_PICKS)
        for labels, sample in arms:
            page.sample(_PICKS.name, labels, sample.picks)
        page.family(_ABSENT)
        for labels, sample in arms:
            page.sample(_ABSENT.name, labels, sample.absent)

    def _write_loads(self, page: Page) -> None:
        loads = [(labelled(_LOADS.labels, (model,)), totals) for model, totals in self._loads.totals.items()]
        page.family(_LOADS)
        for labels, (count, seconds, _) in loads:
            page.sample(f"{_LOADS.name}_sum", labels, seconds)
            page.sample(f"{_LOADS.name}_count", labels, count)
        page.family(_LOAD_FAILURES)
        for labels, (_, _, failures) in loads:
            page.sample(_LOAD_FAILURES.name, labels, failures)

    def _write_wire(self, page: Page) -> None:
        counters = self._wire()
        for key, family in _WIRE.items():
            page.family(family)
            page.sample(family.name, "", counters.get(key, 0))
        page.family(_LIMITS)
        for key, count in counters.items():
            if key.startswith(_REJECTED):
                page.sample(_LIMITS.name, labelled(_LIMITS.labels, (key.removeprefix(_REJECTED),)), count)

    def _write_grpc(self, page: Page) -> None:
        sample = self._grpc()
        page.family(_GRPC)
        for code, count in sorted(sample.outcomes.items()) if sample else ():
            page.sample(_GRPC.name, labelled(_GRPC.labels, (code,)), count)
        page.family(_STREAMS)
        if sample:
            page.sample(_STREAMS.name, "", sample.streams)

    def _write_process(self, page: Page) -> None:
        page.family(_BUILD)
        page.sample(_BUILD.name, labelled(_BUILD.labels, (self._build.get(n, "") for n in _BUILD.labels)), 1)
        write_process(page)


def write_denied(page: Page, counts: Mapping[tuple[str, str], int]) -> None:
    """(port, reason) → requests."""
    page.family(_DENIED)
    for labels, count in sorted(counts.items()):
        page.sample(_DENIED.name, labelled(_DENIED.labels, labels), count)


def write_process(page: Page) -> None:
    facts = process_facts()
    for family, read in _PROCESS:
        page.family(family)
        page.sample(family.name, "", read(facts))


Labelled = list[tuple[str, VersionSample]]


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
        stages = (
            ("input", s.input_ns),
            ("queue", s.queue_ns),
            ("infer", s.infer_ns),
            ("output", s.output_ns),
        )
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


def _write_aliases(page: Page, samples: Labelled) -> None:
    for family, read in _ALIASES:
        page.family(family)
        for labels, sample in samples:
            page.sample(family.name, labels, read(sample))
    page.family(_NV_FAILURE)
    for labels, sample in samples:
        for reason, count in sample.statistics.failures.items():
            page.sample(_NV_FAILURE.name, f'{labels},reason="{reason}"', count)
