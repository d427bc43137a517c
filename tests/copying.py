"""A pipeline without a model, in the test's own loop: what its input gives its output gets, whatever befalls either."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any

from adapters import memory
from gateway.core import letter
from gateway.core.stream import Batch, Context, Input, Output
from gateway.pipeline.policy import Backoff, Batching, Errors, Policy
from gateway.pipeline.runner import Runner
from gateway.pipeline.scoring.scored import Scored


class Copying:
    """Stands where a model does."""

    answers = "copying"

    async def score(self, batch: Batch) -> Scored:
        return Scored(batch, range(len(batch)))


class Copier:
    """`run` it in a task, or by `copying`. Dead letters go to a topic in memory, unless the output keeps them."""

    def __init__(self, input: Input, output: Output, rows: int = 20, **errors: Any) -> None:
        self._dead = memory.Topic(f"dead-{token_hex(4)}")
        memory.add(self._dead)
        dead = memory.MemoryOutput(memory.MemorySink(topic=self._dead.name), Context("copier"))
        policy = Policy(
            batching=Batching(rows=rows, rows_in_flight=10 * rows),
            errors=Errors(backoff=Backoff(initial=0.02, longest=0.3), **{"settle": 1.0} | errors),
            lag_interval=0.2,
        )
        kept = output.sink.dead_letters
        self.runner = Runner("copier", input, output, None if kept else dead, Copying(), policy)

    def dead(self) -> dict[str, str]:
        """id → reason"""
        letters = [letter.decode(message.value or b"") for message in self._dead.messages()]
        return {found.message.id: found.reason for found in letters}

    async def waits(self, *reasons: str) -> None:
        """Until its status says that it waits, and why: all of `reasons` are found in it, one after the other."""
        for reason in reasons:
            await self.until(lambda reason=reason: self._waits(reason), f"'{reason}'")

    def _waits(self, reason: str) -> bool:
        found = self.runner.status()
        return found.state == "waiting" and re.search(reason, found.reason) is not None

    async def copies(self, count: int) -> None:
        """Until it has written that many and acknowledged all, and waits for nothing but more."""
        await self.until(lambda: self._copied(count), f"the writing of {count}")
        now = time.monotonic()  # what its input said of the lag before may be old
        seen = self.runner._pipeline
        await self.until(lambda: seen.lag_seen > now and self._copied(count), f"the writing of all, {count} at least")

    def _copied(self, count: int) -> bool:
        found = self.runner.status()
        behind = found.in_flight or any(lag.records for lag in found.lag.values())
        return found.state == "running" and found.written >= count and not behind

    async def until(self, check: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not check():  # noqa: ASYNC110 - there is no event for what others do
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"{what} did not come: {self.runner.status()}") from None


@asynccontextmanager
async def copying(input: Input, output: Output, rows: int = 20, **errors: Any) -> AsyncIterator[Copier]:
    """Runs, and is drained at the end."""
    copier = Copier(input, output, rows, **errors)
    task = asyncio.create_task(copier.runner.run())
    try:
        yield copier
        copier.runner.drain(5)
        await asyncio.wait_for(task, 15)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
