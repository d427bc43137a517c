"""The streams of a process, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, get_args

import msgspec

from gateway.core.stream import Lag
from gateway.pipeline.status import State, Status
from gateway.telemetry.metrics import Family, Page, labelled

_STREAM: Final = ("stream",)

_RECORDS: Final = Family(
    "sluice_stream_records_total",
    "counter",
    "Records by what became of them: read, scored, written, dead (a dead letter), acknowledged, skipped (nothing is"
    " to come of it), suppressed (it came again after it was written), dropped (to be read again).",
    ("stream", "outcome"),
)
_OUTCOMES: Final = ("read", "scored", "written", "dead", "acknowledged", "skipped", "suppressed", "dropped")

Read = Callable[[Status], float | None]

#: those with one number a stream; what a stream does not know has no sample
_NUMBERS: Final[tuple[tuple[Family, Read], ...]] = (
    (Family("sluice_stream_read_bytes_total", "counter", "Bytes of the records read.", _STREAM), lambda s: s.nbytes),
    (
        Family("sluice_stream_dead_letters_total", "counter", "Records that became dead letters.", _STREAM),
        lambda s: s.dead,
    ),
    (
        Family("sluice_stream_duplicates_suppressed_total", "counter", "Repeats that were not written again.", _STREAM),
        lambda s: s.suppressed,
    ),
    (Family("sluice_stream_retries_total", "counter", "Waits after a failure.", _STREAM), lambda s: s.retries),
    (
        Family("sluice_stream_reconnects_total", "counter", "Connections made anew.", _STREAM),
        lambda s: s.reconnects,
    ),
    (
        Family("sluice_stream_fenced_total", "counter", "Lanes that another owner had taken over.", _STREAM),
        lambda s: s.fenced,
    ),
    (
        Family("sluice_stream_breaker_trips_total", "counter", "Pauses for too many dead letters.", _STREAM),
        lambda s: s.trips,
    ),
    (
        Family("sluice_stream_in_flight_records", "gauge", "Records read and not acknowledged.", _STREAM),
        lambda s: s.in_flight,
    ),
    (Family("sluice_stream_in_flight_bytes", "gauge", "Their bytes.", _STREAM), lambda s: s.in_flight_bytes),
    (
        Family("sluice_stream_oldest_unacknowledged_seconds", "gauge", "Age of the oldest of them.", _STREAM),
        lambda s: s.oldest or 0.0,
    ),
    (
        Family("sluice_stream_last_progress_seconds", "gauge", "Since a record was last acknowledged.", _STREAM),
        lambda s: s.progress,
    ),
    (
        Family("sluice_stream_lag_records", "gauge", "Records that wait in the input, over all lanes.", _STREAM),
        lambda s: records(s.lag),
    ),
    (
        Family("sluice_stream_lag_seconds", "gauge", "Age of the oldest record that waits.", _STREAM),
        lambda s: seconds(s.lag),
    ),
)
_BATCH: Final = Family("sluice_stream_batch_records", "histogram", "Records scored together.", _STREAM)
_STATE: Final = Family("sluice_stream_state", "gauge", "1 for the state that the stream is in.", ("stream", "state"))
_INFO: Final = Family("sluice_stream_info", "gauge", "What holds for its records.", ("stream", "guarantee"))

#: every metric, and what it says
NAMES: Final = {
    family.name: family.help for family in (_RECORDS, *(family for family, _ in _NUMBERS), _BATCH, _STATE, _INFO)
}

#: `standby`: another process has its lease
STATES: Final = (*get_args(State), "standby")
_BOUNDS: Final = tuple(2**power for power in range(15))


def records(lag: Mapping[str, Lag]) -> int | None:
    known = [lane.records for lane in lag.values() if lane.records is not None]
    return sum(known) if known else None


def seconds(lag: Mapping[str, Lag]) -> float | None:
    known = [lane.seconds for lane in lag.values() if lane.seconds is not None]
    return max(known) if known else None


def write(page: Page, samples: Iterable[Mapping[str, Any]]) -> None:
    """Each has `name`, `state`, `status`, a Status or the same as plain values, and `worker` where there are some."""
    views = [
        (
            _labels(sample),
            sample["name"],
            sample["state"],
            msgspec.convert(sample["status"], Status, from_attributes=True),
        )
        for sample in samples
    ]
    page.family(_RECORDS)
    for labels, _, _, status in views:
        for outcome in _OUTCOMES:
            page.sample(_RECORDS.name, f'{labels},outcome="{outcome}"', getattr(status, outcome))
    for family, read in _NUMBERS:
        page.family(family)
        for labels, _, _, status in views:
            value = read(status)
            if value is not None:
                page.sample(family.name, labels, value)
    page.family(_BATCH)
    for labels, _, _, status in views:
        counts = [status.sizes.get(bound, 0) for bound in _BOUNDS]
        above = sum(count for size, count in status.sizes.items() if size > _BOUNDS[-1])
        page.histogram(_BATCH.name, labels, _BOUNDS, [*counts, above], status.scored)
    page.family(_STATE)
    for labels, _, now, _ in views:
        for state in STATES:
            page.sample(_STATE.name, f'{labels},state="{state}"', int(state == now))
    page.family(_INFO)
    for labels, _, _, status in views:
        delivery = status.guarantee.partition(":")[0]
        page.sample(_INFO.name, f'{labels},guarantee="{delivery}"', 1)


def _labels(sample: Mapping[str, Any]) -> str:
    if "worker" in sample:
        return labelled(("stream", "worker"), (sample["name"], sample["worker"]))
    return labelled(_STREAM, (sample["name"],))
