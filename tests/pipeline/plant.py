"""A pipeline over topics in memory, and what came out of it: for tests of everything that a runner does."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from oracle import Ledger, Result, Verdict

from adapters import memory
from gateway.core import letter
from gateway.core.errors import SluiceError
from gateway.core.stream import Batch, Context, Input, Message, Output
from gateway.pipeline.policy import Backoff, Batching, Breaker, Errors, Policy
from gateway.pipeline.runner import Runner
from gateway.pipeline.scoring.scored import Scored, Scores

#: a failure is waited for, but not for long
QUICK = Backoff(initial=0.0002, longest=0.002)
NEVER = Breaker(share=1.0)

_numbers = itertools.count()


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


def policy(lanes: int = 1, errors: dict[str, Any] | None = None, **batching: Any) -> Policy:
    return Policy(
        batching=Batching(**batching),
        errors=Errors(**{"backoff": QUICK, "breaker": NEVER, **(errors or {})}),
        lanes=lanes,
    )


def compute(version: str, features: Sequence[float]) -> float:
    return float(version) * 2 * features[0]


class Doubler:
    """Scores ``{"x": 3}`` as 6 with version 1. What is no JSON is at fault.

    fails   errors that the next calls raise; None: that one goes well
    """

    answers = "doubler"

    def __init__(self) -> None:
        self.version = 1
        self.fails: list[SluiceError | None] = []
        self.batches: list[int] = []
        self.before: Callable[[], Awaitable[None]] | None = None

    async def score(self, batch: Batch) -> Scored:
        if self.before is not None:
            await self.before()
        if self.fails and (error := self.fails.pop(0)) is not None:
            raise error
        self.batches.append(len(batch))
        values, rows, errors = [], [], dict(batch.faults)
        for row, value in enumerate(batch.values):
            try:
                score = compute(str(self.version), [json.loads(value or b"")["x"]])
            except (ValueError, KeyError, TypeError) as error:
                errors[row] = f"it is no record: {error}"
                continue
            rows.append(row)
            values.append(json.dumps({"id": batch.ids[row], "version": str(self.version), "score": score}).encode())
        good = batch.take(rows)
        return Scored(Batch(good.ids, values, good.keys, good.headers, good.timestamps), rows, errors)


@dataclass
class Plant:
    """Topics of its own, in and out and for the dead; `put` writes into the ledger, too."""

    ability: str = "plain"
    dead_letters: bool = False
    ends: bool = True
    reading: memory.Faults = field(default_factory=memory.Faults)
    writing: memory.Faults = field(default_factory=memory.Faults)
    burying: memory.Faults = field(default_factory=memory.Faults)
    capacity: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    scorer: Any = field(default_factory=Doubler)

    def __post_init__(self) -> None:
        self.name = f"plant-{next(_numbers)}"
        self.source = memory.Topic(f"{self.name}.in")
        self.sink = memory.Topic(f"{self.name}.out")
        self.dead = memory.Topic(f"{self.name}.dead")
        for topic in (self.source, self.sink, self.dead):
            memory.add(topic)

    def put(self, count: int, *, keys: int = 5, lanes: int = 1, poison: int = 0) -> None:
        """All of a key in one lane."""
        start = len(self.ledger.entries)
        for n in range(start, start + count):
            bad = bool(poison) and n % poison == poison - 1
            key = n % keys
            entry = self.ledger.produce(f"r{n}", f"k{key}", [float(n)], poison=bad)
            value = b"{poison" if bad else json.dumps({"x": n}).encode()
            self.source.put([Message(entry.id, value, entry.key.encode())], str(key % lanes))

    def output(self) -> Output:
        settings = memory.MemorySink(
            topic=self.sink.name, ability=self.ability, dead_letters=self.dead_letters, capacity=self.capacity,
            faults=self.writing,
        )  # type: ignore[arg-type]  # fmt: skip
        return memory.MemoryOutput(settings, Context(self.name))

    def input(self, output: Output | None = None) -> Input:
        positions: Any = output if self.ability == "stores_offsets" else None
        settings = memory.MemorySource(topic=self.source.name, ends=self.ends, faults=self.reading)
        return memory.MemoryInput(settings, Context(self.name, positions))

    def graveyard(self) -> Output:
        settings = memory.MemorySink(topic=self.dead.name, ability="idempotent", faults=self.burying)
        return memory.MemoryOutput(settings, Context(f"{self.name}.dead"))

    def runner(self, policy: Policy, scorer: Scores | None = None) -> Runner:
        output = self.output()
        dead = None if self.dead_letters else self.graveyard()
        return Runner(self.name, self.input(output), output, dead, scorer or self.scorer, policy)

    def results(self) -> list[Result]:
        found = [json.loads(message.value or b"") for message in self.sink.messages()]
        return [Result(one["id"], one["version"], one["score"]) for one in found]

    def buried(self) -> list[str]:
        kept = [found.message.id for found in self.sink.letters]
        return [*kept, *(letter.decode(message.value or b"").message.id for message in self.dead.messages())]

    def reasons(self) -> dict[str, str]:
        letters = [letter.decode(message.value or b"") for message in self.dead.messages()]
        return {found.message.id: found.reason for found in [*letters, *self.sink.letters]}

    def verdict(self, *, ordered: bool = True) -> Verdict:
        return self.ledger.judge(self.results(), self.buried(), compute, ordered=ordered)

    def close(self) -> None:
        for topic in (self.source, self.sink, self.dead):
            memory.forget(topic.name)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what other tasks do; they get their turns in the meantime."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - there is no event for what a status says
            await asyncio.sleep(0.001)


@asynccontextmanager
async def running(runner: Runner) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(runner.run())
    try:
        yield task
    finally:
        runner.drain(5)
        await task
