"""What a worker tells of itself, and the sum of what all workers told, the dead ones too.

A reader never sees a counter decrease: of each process the last report counts, which its successor adds to.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from gateway.core.observe import BatchStatistics, Statistics
from gateway.core.servable import ServableId
from gateway.telemetry.metrics import Family, Page, Sample, labelled

_SUMS: Final = (
    "success_count", "success_ns", "fail_count", "fail_ns", "queue_ns", "input_ns", "infer_ns", "output_ns", "rows",
    "executions",
)  # fmt: skip


class Report(msgspec.Struct, array_like=True):
    """requests    answered or refused, of both ports
    counted     (model, version, `pack`ed statistics)
    families    a `Page`'s
    troubles    model → why it is not served as it is desired
    streams     those that run in it, where it is one that runs streams
    """

    revision: int
    requests: int
    counted: list[tuple[str, str, list[Any]]]
    families: list[tuple[Family, list[Sample]]]
    troubles: dict[str, str]
    streams: Sequence[str] = ()


def pack(statistics: Statistics) -> list[Any]:
    batches = {rows: (b.count, b.input_ns, b.infer_ns, b.output_ns) for rows, b in statistics.batches.items()}
    sums = [getattr(statistics, name) for name in _SUMS]
    return [sums, statistics.last_inference, statistics.failures, batches, statistics.latency]


def add(total: Statistics, packed: list[Any]) -> None:
    """`packed` is what `pack` made, as it comes out of MessagePack."""
    sums, last, failures, batches, latency = packed
    for name, value in zip(_SUMS, sums, strict=True):
        setattr(total, name, getattr(total, name) + value)
    total.last_inference = max(total.last_inference, last)
    for reason, count in failures.items():
        total.failures[reason] = total.failures.get(reason, 0) + count
    for rows, (count, input_ns, infer_ns, output_ns) in batches.items():
        batch = total.batches.setdefault(rows, BatchStatistics())
        batch.count += count
        batch.input_ns += input_ns
        batch.infer_ns += infer_ns
        batch.output_ns += output_ns
    total.latency = [a + b for a, b in zip(total.latency, latency, strict=True)]


Key = tuple[str, str]


class Tally:
    """Keeps the last report of each process that lives, and the sum of the last ones of those that ended."""

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[str, Report]] = {}
        self._ended: dict[ServableId, Statistics] = {}
        self._ended_samples: dict[str, dict[Key, float]] = {}
        self._families: dict[str, Family] = {}
        #: what a reader saw of counters that are floats: a sum in another order may differ in its last digit
        self._shown: dict[Key, float] = {}

    def heard(self, who: Hashable, name: str, report: Report) -> None:
        """`name` is the value of the label by which metrics tell processes apart."""
        self._last[who] = name, report

    def ended(self, who: Hashable) -> None:
        found = self._last.pop(who, None)
        if found is None:
            return
        name, report = found
        for model, version, packed in report.counted:
            add(self._ended.setdefault(ServableId(model, version), Statistics()), packed)
        for family, samples in _named(report.families, name):
            self._families.setdefault(family.name, family)
            if family.kind != "gauge":
                _sum(self._ended_samples.setdefault(family.name, {}), samples)

    def statistics(self) -> dict[ServableId, Statistics]:
        found: dict[ServableId, Statistics] = {}
        for key, ended in self._ended.items():
            add(found.setdefault(key, Statistics()), pack(ended))
        for _, report in self._last.values():
            for model, version, packed in report.counted:
                add(found.setdefault(ServableId(model, version), Statistics()), packed)
        return found

    def page(self, own: Page, name: str = "supervisor") -> Page:
        """The workers' together, and `own` of this process itself, with the same names where it has them."""
        reports = [(process, report.families) for process, report in self._last.values()]
        found: dict[str, dict[Key, float]] = {each: dict(self._ended_samples.get(each, {})) for each in self._families}
        for process, families in [*reports, (name, own.families)]:
            for family, samples in _named(families, process):
                self._families.setdefault(family.name, family)
                (_most if family.joined == "most" else _sum)(found.setdefault(family.name, {}), samples)
        page = Page()
        for each, sums in found.items():
            family = self._families[each]
            page.family(family)
            for key, value in sums.items():
                page.sample(*key, self._risen(key, value) if family.kind != "gauge" else value)
        return page

    def _risen(self, key: Key, value: float) -> float:
        if isinstance(value, float):
            value = self._shown[key] = max(value, self._shown.get(key, 0.0))
        return value


def _named(families: Iterable[tuple[Family, list[Sample]]], process: str) -> Iterator[tuple[Family, list[Sample]]]:
    """With the process as a label where each tells for itself."""
    label = labelled(("process",), (process,))
    for family, samples in families:
        if family.joined == "each":
            samples = [(name, f"{at},{label}" if at else label, value) for name, at, value in samples]
        yield family, samples


def _sum(into: dict[Key, float], samples: Iterable[Sample]) -> None:
    for name, at, value in samples:
        into[name, at] = into.get((name, at), 0) + value


def _most(into: dict[Key, float], samples: Iterable[Sample]) -> None:
    for name, at, value in samples:
        into[name, at] = max(into.get((name, at), 0), value)
