"""What a supervisor tells of its workers and of itself, beside what the workers count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.telemetry.metrics.exposition import Family, Page, labelled
from gateway.telemetry.metrics.process import write_process

#: what a worker's process may be doing; one that is spare waits to be put into a slot
STATES: Final = ("starting", "ready", "draining", "down")

WORKERS: Final = Family(
    "sluice_workers", "gauge", "Worker processes by state: spare, starting, ready, draining, down.", ("state",)
)
RESTARTS: Final = Family(
    "sluice_worker_restarts_total", "counter", "Workers that were replaced because they died, by cause.", ("cause",)
)
ROW: Final = Family(
    "sluice_worker_crashes_in_a_row",
    "gauge",
    "How often the worker of a slot died of one cause without having served for long; 0 where all is well.",
    ("slot",),
)
REVISION: Final = Family("sluice_worker_revision", "gauge", "Revision that the worker of a slot is at.", ("slot",))

STREAM_WORKERS: Final = Family(
    "sluice_stream_workers",
    "gauge",
    "Processes that run streams by state: starting, ready, draining, down.",
    ("state",),
)
STREAM_RESTARTS: Final = Family(
    "sluice_stream_worker_restarts_total",
    "counter",
    "Processes that run streams and were replaced because they died or hung, by cause.",
    ("cause",),
)

#: every metric and its help
NAMES: Final = {
    family.name: family.help for family in (WORKERS, RESTARTS, ROW, REVISION, STREAM_WORKERS, STREAM_RESTARTS)
}


class Figures(NamedTuple):
    """`states` (those that there are) and `restarts` count processes, `rows` and `revisions` are by slot."""

    states: Mapping[str, int]
    restarts: Mapping[str, int]
    rows: Mapping[int, int]
    revisions: Mapping[int, int]


def fleet_page(figures: Figures) -> Page:
    page = Page()
    _write(page, WORKERS, {state: figures.states.get(state, 0) for state in ("spare", *STATES)})
    _write(page, RESTARTS, figures.restarts)
    _write(page, ROW, figures.rows)
    _write(page, REVISION, figures.revisions)
    write_process(page)
    return page


def stream_workers_page(figures: Figures) -> Page:
    page = Page()
    _write(page, STREAM_WORKERS, {state: figures.states.get(state, 0) for state in STATES})
    _write(page, STREAM_RESTARTS, figures.restarts)
    return page


def _write(page: Page, family: Family, values: Mapping[Any, int]) -> None:
    page.family(family)
    for value, count in values.items():
        page.sample(family.name, labelled(family.labels, (str(value),)), count)
