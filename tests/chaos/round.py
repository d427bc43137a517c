"""A pipeline with its workers, tormented fault by fault: records go in, a fault strikes, and all of them come out."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from chaos.faults.fault import CRASH, Fault
from chaos.pipelines.pipeline import IN_FLIGHT, Pipeline
from chaos.records import Scores, Sent
from chaos.worker import Worker
from oracle import Verdict

#: seconds in which everything must have come out after a fault
PATIENCE = 60.0
#: of a fault that meets no record in flight
TRIES = 3
#: how often there are two workers where a fault leaves that open
COMPANY = 0.4


@dataclass(slots=True)
class Tally:
    """How often a fault struck with records in flight, or in vain, how often it may have interrupted a worker, and in
    which rounds."""

    struck: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    breaks: Counter[str] = field(default_factory=Counter)
    rounds: dict[int, str] = field(default_factory=dict)


class Round:
    """All rounds of one pipeline. `command` is what runs a worker, `change` what is other in its document."""

    def __init__(
        self,
        pipeline: Pipeline,
        models: Path,
        state: Path,
        command: tuple[str, ...] = ("-m", "gateway.cli"),
        change: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ) -> None:
        self.pipeline = pipeline
        self.sent = Sent()
        self.tally = Tally()
        #: the last fault met records in flight
        self.struck = False
        self.state = state
        state.mkdir()
        file = state / f"{pipeline.name}.yaml"
        file.write_text(json.dumps(change(pipeline.document())))
        self._settings = state / "sluice.yaml"
        self.split(50)
        self.worker, self.second, self.third = (
            Worker(file, models, self._settings, state, command, f"{name}.log")
            for name in ("worker", "second", "third")
        )

    # ---- the workers

    def split(self, second: int) -> None:
        """How many of a hundred go to the second version, for workers that start from now on."""
        self.share = second
        weights = {"1": 100 - second, "2": second}
        self._settings.write_text(json.dumps({"streams_lease": 2, "splits": {"T": {"weights": weights}}}))

    def alone(self) -> None:
        """One worker."""
        self.worker.start()
        self.second.end()

    def company(self, chance: random.Random) -> None:
        """One worker or two."""
        if chance.random() < COMPANY:
            self.second.start()
        else:
            self.second.end()

    def kill(self, chance: random.Random) -> None:
        """The one that has been at work for longer, where another may share the work, or all there are."""
        one = chance.random() < 0.5 and self.pipeline.shared
        for worker in [self.worker] if one else self._alive():
            worker.end(signal.SIGKILL)

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Meanwhile all workers stand still; one that does so anyway does not go on afterwards."""
        running = [worker for worker in self._alive() if worker.runs]
        for worker in running:
            worker.stop()
        try:
            yield
        finally:
            for worker in running:
                worker.go_on()

    def _alive(self) -> list[Worker]:
        return [worker for worker in (self.worker, self.second, self.third) if worker.alive]

    # ---- the records

    def send(self, *, poison: bool = False, slow: bool = False) -> None:
        records = self.sent.next(self.pipeline.chunk, poison=poison, slow=slow)
        if self.pipeline.atomic:
            self.pipeline.send(records)
        else:
            with self.standing():
                self.pipeline.send(records)

    def in_flight(self) -> bool:
        """Whether there are records of which nothing has come. To count them takes longer than to do them."""
        with self.standing():
            return self.pipeline.waiting() > 0

    def load(self, chance: random.Random, *, slow: bool = False) -> bool:
        """Sends records, and returns when some of them have come out and others have not; whether it found that."""
        pauses = random.Random(chance.random())  # how many there are is not to be seen in what is drawn next
        self.send(slow=slow)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            time.sleep(pauses.uniform(0.01, 0.08))
            with self.standing():
                left = self.pipeline.waiting()
            if left < self.pipeline.chunk:
                return left > 0
        return False

    def settled(self, limit: float = PATIENCE) -> bool:
        """Whether everything has come out within so many seconds."""
        end = time.monotonic() + limit
        while self.pipeline.waiting():
            if time.monotonic() > end:
                return False
            self.worker.start()  # if it has died
            time.sleep(0.1)
        return True

    def strike(self, name: str, fault: Fault, chance: random.Random) -> bool:
        """Whether everything came out afterwards."""
        self.sent.round += 1
        self.tally.rounds[self.sent.round] = name
        self.struck = fault.strike(self, chance)
        (self.tally.struck if self.struck else self.tally.missed)[name] += 1
        self.tally.breaks[name] += fault.breaks
        return self.settled()

    def insist(self, name: str, fault: Fault, chance: random.Random) -> bool:
        """The same, and again where it met no record in flight."""
        for _ in range(TRIES):
            if not self.strike(name, fault, chance):
                return False
            if self.struck:
                break
        return True

    def verdict(self, scores: Scores) -> Verdict:
        pipeline = self.pipeline
        return self.sent.judge(pipeline.results(), pipeline.dead(), scores, ordered=pipeline.ordered)

    def keeps(self, verdict: Verdict) -> bool:
        """Whether the pipeline did what it claims."""
        if self.pipeline.exactly_once:
            return verdict.exact
        return verdict.sound and verdict.duplicates <= self.bound and not self.divided(verdict)

    @property
    def bound(self) -> int:
        """What can have been in flight when workers were interrupted, of all rounds together."""
        return self.tally.breaks.total() * IN_FLIGHT

    def divided(self, verdict: Verdict) -> list[str]:
        """What came again with the score of another version, though the split had not changed."""
        changed = {number for number, fault in self.tally.rounds.items() if fault == "split changes"}
        return [name for name in verdict.divided if not changed & {self.sent.round_of(name) + late for late in (0, 1)}]

    def logs(self, lines: int = 30) -> str:
        return "\n".join(
            "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
            for path in sorted(self.state.glob("*.log"))
        )

    def __enter__(self) -> Round:
        try:
            self.worker.start()
            self.send()
            if not self.settled():
                raise AssertionError(f"{self.pipeline.name} does not run:\n{self.logs()}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for site in self.pipeline.sites:
            site.proxy.set("pass")
        for worker in (self.worker, self.second, self.third):
            worker.end()


def schedule(names: Sequence[str], count: int, chance: random.Random) -> list[str]:
    """In any order: two of three are crashes at a place in the code, each as often as the others give or take one, so
    that every pipeline meets each of them twice in a whole run; the rest is what happens from outside."""
    crashes = [name for name in names if name.startswith(CRASH)]
    others = [name for name in names if not name.startswith(CRASH)]
    first = (count * 2 // 3 if others else count) if crashes else 0
    found = _evenly(crashes, first, chance) + _evenly(others, count - first, chance)
    chance.shuffle(found)
    return found


def _evenly(names: Sequence[str], count: int, chance: random.Random) -> list[str]:
    found: list[str] = []
    while names and len(found) < count:
        found += chance.sample(names, len(names))
    return found[:count]
