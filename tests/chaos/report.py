"""What became of the records, by fault: of one pipeline, and of all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.pipelines.pipeline import IN_FLIGHT
from chaos.round import Round
from oracle import Verdict

_TITLES: Final = ("fault", "times", "in vain", "lost", "duplicated", "repeated", "at most", "out of order", "wrong")


@dataclass(slots=True)
class Line:
    """Of one fault. Records count for the fault in whose round they were sent.

    vain        times without a record in flight, which count for nothing
    duplicated  where exactly once is claimed; `repeated` where at least once is, `bound`: what was in flight, at most
    """

    times: int = 0
    vain: int = 0
    lost: int = 0
    duplicated: int = 0
    repeated: int = 0
    bound: int = 0
    disordered: int = 0
    wrong: int = 0

    @property
    def cells(self) -> tuple[int, ...]:
        return self.times, self.vain, self.lost, self.duplicated, self.repeated, self.bound, self.disordered, self.wrong

    def __add__(self, other: Line) -> Line:
        return Line(*(mine + theirs for mine, theirs in zip(self.cells, other.cells, strict=True)))


@dataclass(slots=True)
class Report:
    """Of one pipeline."""

    name: str
    good: bool
    claim: str
    records: int
    seconds: float
    lines: Mapping[str, Line]
    trouble: str = ""

    def __str__(self) -> str:
        head = f"{self.name} ({self.claim}): {verdict(self.good)}, {self.records} records, {self.seconds:.0f} s"
        struck = {name: line for name, line in self.lines.items() if line.times or line.vain}
        return "\n".join(filter(None, [head, table(struck), self.trouble]))


def report(round_: Round, found: Verdict, seconds: float, stuck: str) -> Report:
    pipeline, sent = round_.pipeline, round_.sent
    wrong = [*found.wrong, *found.buried, *found.unnoticed, *round_.divided(found)]
    kinds = [sent.by_round(ids) for ids in (found.lost, found.duplicated, found.disordered, wrong)]
    lines: dict[str, Line] = {}
    for name in dict.fromkeys(round_.tally.rounds.values()):
        rounds = [number for number, fault in round_.tally.rounds.items() if fault == name]
        lost, duplicated, disordered, bad = (sum(counts[number] for number in rounds) for counts in kinds)
        bound = round_.tally.breaks[name] * IN_FLIGHT
        once = (duplicated, 0, 0) if pipeline.exactly_once else (0, duplicated, bound)
        struck, missed = round_.tally.struck[name], round_.tally.missed[name]
        lines[name] = Line(struck, missed, lost, *once, disordered, bad)
    good = not stuck and round_.keeps(found)
    claim = "exactly once" if pipeline.exactly_once else "at least once"
    claim += ", order per key" if pipeline.ordered else ""
    trouble = "" if good else "\n".join(filter(None, [stuck, str(found), round_.logs()]))
    return Report(pipeline.name, good, claim, len(sent), seconds, lines, trouble)


@dataclass(slots=True)
class Summary:
    """Of all pipelines."""

    lines: dict[str, Line] = field(default_factory=dict)
    records: int = 0

    @staticmethod
    def of(reports: Iterable[Report]) -> Summary:
        found = Summary()
        for each in reports:
            found.records += each.records
            for name, line in each.lines.items():
                found.lines[name] = found.lines.get(name, Line()) + line
        return found

    @property
    def faults(self) -> int:
        return sum(line.times for line in self.lines.values())

    def hits(self, point: str) -> int:
        """How often a worker died there with records in flight."""
        return self.lines.get(f"crash {point}", Line()).times


def table(lines: Mapping[str, Line]) -> str:
    total = sum(lines.values(), Line())
    rows = [_TITLES, *((name, *line.cells) for name, line in sorted(lines.items())), ("all", *total.cells)]
    return aligned(rows)


def aligned(rows: Sequence[Sequence[Any]]) -> str:
    widths = [max(len(str(row[at])) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            str(cell).rjust(width) if at else str(cell).ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def verdict(good: bool) -> str:
    return "good" if good else "NOT GOOD"
