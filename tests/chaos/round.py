"""A pipeline with its workers, tormented fault by fault: records go in, a fault strikes, and all of them come out."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from chaos.faults import CRASH, Fault
from chaos.pipelines.pipeline import Pipeline
from chaos.records import Scores, Sent
from chaos.worker import Worker
from oracle import Verdict

#: seconds in which everything must have come out after a fault
PATIENCE = 60.0


@dataclass(slots=True)
class Tally:
    """How often a fault struck with records in flight, and in which rounds."""

    struck: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    rounds: dict[int, str] = field(default_factory=dict)


class Round:
    """All rounds of one pipeline. `command` is what runs a worker."""

    def __init__(
        self,
        pipeline: Pipeline,
        models: Path,
        state: Path,
        command: tuple[str, ...] = ("-m", "gateway.cli"),
    ) -> None:
        self.pipeline = pipeline
        self.sent = Sent()
        self.tally = Tally()
        #: the last fault met records in flight
        self.struck = False
        self.state = state
        state.mkdir()
        file = state / f"{pipeline.name}.yaml"
        file.write_text(json.dumps(pipeline.document()))
        self._settings = state / "sluice.yaml"
        self.split({"1": 50, "2": 50})
        self.worker = Worker(file, models, self._settings, state, command, "worker.log")
        self.second = Worker(file, models, self._settings, state, command, "second.log")

    def split(self, weights: Mapping[str, float]) -> None:
        self._settings.write_text(json.dumps({"streams_lease": 2, "splits": {"T": {"weights": dict(weights)}}}))

    def send(self, *, poison: bool = False) -> None:
        self.pipeline.send(self.sent.next(self.pipeline.chunk, poison=poison))

    def in_flight(self) -> bool:
        """Whether there are records of which nothing has come."""
        return self.pipeline.waiting() > 0

    def settled(self) -> bool:
        end = time.monotonic() + PATIENCE
        while self.pipeline.waiting():
            if time.monotonic() > end:
                return False
            if not self.worker.alive:
                self.worker.start()
            time.sleep(0.1)
        return True

    def strike(self, name: str, fault: Fault, chance: random.Random) -> bool:
        """Whether everything came out afterwards."""
        self.sent.round += 1
        self.tally.rounds[self.sent.round] = name
        self.struck = fault(self, chance)
        (self.tally.struck if self.struck else self.tally.missed)[name] += 1
        return self.settled()

    def verdict(self, scores: Scores) -> Verdict:
        pipeline = self.pipeline
        return self.sent.judge(pipeline.results(), pipeline.dead(), scores, ordered=pipeline.ordered)

    def keeps(self, verdict: Verdict) -> bool:
        """Whether the pipeline did what it claims."""
        return verdict.exact if self.pipeline.exactly_once else verdict.sound

    def logs(self, lines: int = 30) -> str:
        return "\n".join(
            "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
            for path in sorted(self.state.glob("*.log"))
        )

    def __enter__(self) -> Round:
        self.worker.start()
        self.send()
        if not self.settled():
            raise AssertionError(f"{self.pipeline.name} does not run:\n{self.logs()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pipeline.proxy is not None:
            self.pipeline.proxy.set("pass")
        self.worker.end()
        self.second.end()


def schedule(names: Sequence[str], count: int, chance: random.Random) -> list[str]:
    """In any order: crashes at a place in the code, each as often as the others give or take one, are the half of it,
    and what happens from outside the other half."""
    crashes = [name for name in names if name.startswith(CRASH)]
    others = [name for name in names if not name.startswith(CRASH)]
    first = (count // 2 if others else count) if crashes else 0
    found = _evenly(crashes, first, chance) + _evenly(others, count - first, chance)
    chance.shuffle(found)
    return found


def _evenly(names: Sequence[str], count: int, chance: random.Random) -> list[str]:
    found: list[str] = []
    while names and len(found) < count:
        found += chance.sample(names, len(names))
    return found[:count]
