"""One connected time of a pipeline: from the connection of both sides to the first thing that needs another one.

What was read and is not acknowledged at its end is read again in the next. So its end is: nothing begins any more, the
writes that are under way end and are acknowledged, everything else is dropped. Nothing is written twice knowingly.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from typing import Any, Final

from gateway.core.crashpoint import crash
from gateway.core.errors import SluiceError
from gateway.core.stream import Batch, Fenced, Token, at_fault
from gateway.pipeline.delivery import Part
from gateway.pipeline.fault import BOTH, EVERY, INPUT, Fault, Halted, Tripped
from gateway.pipeline.fences import Fences
from gateway.pipeline.flight import Flight
from gateway.pipeline.flow import Flow
from gateway.pipeline.lane import Lane
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.scoring.scored import Scored
from gateway.pipeline.side import unexpected
from gateway.pipeline.stray import stray
from gateway.pipeline.watchdog import Watchdog

logger = logging.getLogger("sluice.streams")

#: seconds that an input may take to learn that a lane has another owner
_GRACE: Final = 10.0


class Session:
    """Belongs to the event loop. `run` once."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline: Final = pipeline
        self._watchdog: Final = Watchdog(pipeline)
        policy = pipeline.policy
        self.merges: Final = pipeline.merges
        self.linger: Final = policy.batching.linger
        self.ahead: Final = policy.batching.ahead
        self.lanes: Final = policy.lanes
        self.flow: Final = Flow(policy.batching, pipeline.input.source.depth)
        #: those with something in flight
        self.busy: Final[dict[str, Lane]] = {}
        self._fences: Final = Fences()
        self._ended = asyncio.Event()
        self._stopping = False
        self._deadline: asyncio.TimerHandle | None = None
        self._why: Exception | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._reader: asyncio.Task[None] | None = None
        #: the input has no more records
        self.exhausted = False
        pipeline.delivery.halt = asyncio.Event()

    # ---- its life

    async def run(self) -> None:
        """Returns when the input has ended, or `stop` was called, and all that was read is acknowledged or its time is
        up. Raises Fault, Tripped."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._reader = tasks.create_task(self._read(), name="read")
            helpers = [
                tasks.create_task(self._watch(), name="watch"),
                tasks.create_task(self._watchdog.look_at_lag(), name="lag"),
            ]
            await self._ended.wait()
            if self._deadline is not None:
                self._deadline.cancel()
            helpers.append(self._reader)
            for task in helpers:
                task.cancel()
            await asyncio.wait(helpers)
            await self._settle()
        if self._why is not None:
            raise self._why

    def stop(self, deadline: float) -> None:
        """Reads no more, and ends when all that was read is acknowledged, or after so many seconds."""
        if self._stopping:
            return
        self._stopping = True
        self._deadline = asyncio.get_running_loop().call_later(deadline, self._ended.set)
        self._end_if_done()
        for lane in self.busy.values():
            lane.nudge()

    def _end(self, why: Exception) -> None:
        if self._why is None and not self._ended.is_set():
            self._why = why
            self._ended.set()

    def _end_if_done(self) -> None:
        if self.busy or not (self._stopping or self.exhausted):
            return
        if (missing := self._fences.missing) and not self._stopping:
            # what was dropped is still to be read, unless there is another owner: the input has to find out
            self._end(Fault(Fenced(f"lane '{missing}' has another owner"), INPUT))
        self._ended.set()

    async def _settle(self) -> None:
        """Lets the writes end that are under way, and drops the rest; what the breaker has let pass is written."""
        lanes = list(self.busy.values())
        for lane in lanes:
            if isinstance(self._why, Tripped):
                lane.stop_scoring()
            else:
                lane.stop(writing=True)
        self._pipeline.delivery.halt.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pipeline.policy.errors.settle):
                await _all(pump.task for lane in lanes for pump in lane.writing)
                for lane in lanes:
                    lane.abandon()
                await _all(lane.acknowledging.task for lane in lanes)
        for lane in lanes:
            lane.cancel()
            self._pipeline.written.remember(lane.name, lane.flights)
            self._pipeline.counters.dropped += sum(flight.rows for flight in lane.flights)

    # ---- reading

    async def _read(self) -> None:
        pipeline = self._pipeline
        try:
            while not self._stopping:
                most = self.most
                if not self.flow.free(most):
                    for lane in self.busy.values():
                        lane.nudge()
                credit = await self.flow.credit(most)
                with stray("reading"):
                    found = await pipeline.input.read(credit)
                if found is None:
                    self.exhausted = True
                    self._end_if_done()
                    return
                if crash is not None:
                    crash.reach("after-read")
                self._take_in(*found)
                if not len(found[0]):
                    await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001 - told to whoever connects again
            self._end(_fault(error, INPUT))

    def _take_in(self, batch: Batch, token: Token) -> None:
        pipeline = self._pipeline
        lane = self.busy.get(token.lane)
        if lane is not None and token.epoch < lane.epoch:
            pipeline.counters.dropped += len(batch)
            return
        if not self._fences.admit(token):
            pipeline.counters.dropped += len(batch)
            if self._fences.age(token.lane) > _GRACE:
                error = Fenced(f"the input still gives records of lane '{token.lane}', which has another owner")
                self._end(Fault(error, BOTH))
            return
        flight = Flight.of(batch, token)
        pipeline.counters.read += flight.rows
        pipeline.counters.nbytes += flight.nbytes
        self.flow.take(flight.rows, flight.nbytes)
        self._lane(token).add(flight)

    def _lane(self, token: Token) -> Lane:
        lane = self.busy.get(token.lane)
        after: set[Any] = set()
        if lane is not None:
            if lane.epoch == token.epoch:
                return lane
            after = set(lane.tasks())
            self._drop(lane)
        if self._tasks is None:
            raise AssertionError("it does not run")
        lane = Lane(token.lane, token.epoch, self._tasks, self, after)
        self.busy[token.lane] = lane
        return lane

    # ---- the steps of a flight

    @property
    def most(self) -> int:
        rows = self._pipeline.policy.batching.rows
        return min(rows, self._pipeline.narrow or rows)

    @property
    def hungry(self) -> bool:
        return self.flow.blocked or self._stopping or self.exhausted

    def merged(self, flights: int) -> None:
        self.flow.merge(flights)

    async def score(self, flight: Flight) -> Scored:
        """Waits for a model that is not there. Raises Tripped, Fault."""
        pipeline = self._pipeline
        pipeline.counters.suppressed += pipeline.written.leave_out(flight)
        batch = flight.batch
        if not len(batch):
            return Scored(batch, ())
        side, tries = pipeline.model, 0
        while True:
            try:
                scored = await pipeline.scorer.score(batch)
            except SluiceError as error:
                if at_fault(error):
                    # a scorer blames records, and raises for none
                    raise Fault(error, BOTH) from error
                tries += 1
                limit = pipeline.policy.errors.attempts
                if limit and tries >= limit:
                    reason = f"after {tries} tries: {error.message}"
                    scored = Scored(Batch((), ()), (), dict.fromkeys(range(len(batch)), reason))
                    break
                await side.wait(error)
            else:
                side.succeeded()
                break
        if tripped := pipeline.breaker.judge(len(batch), len(scored.errors), next(iter(scored.errors.values()), "")):
            raise Tripped(tripped)
        pipeline.counters.scored += len(scored.batch)
        pipeline.counters.skipped += len(batch) - len(scored.batch) - len(scored.errors)
        pipeline.counters.batches += 1
        size = 1 << max(0, len(batch) - 1).bit_length()
        pipeline.sizes[size] = pipeline.sizes.get(size, 0) + 1
        return scored

    async def deliver(self, part: Part) -> None:
        await self._pipeline.delivery.deliver(part)

    async def acknowledge(self, flight: Flight) -> None:
        """Every token of it, in order, and its credit is given back."""
        pipeline = self._pipeline
        for token in flight.tokens:
            try:
                with stray("acknowledging"):
                    await pipeline.input.ack(token)
            except Fenced:
                raise
            except SluiceError as error:
                raise Fault(error, INPUT) from error
        if crash is not None:
            crash.reach("after-ack")
        pipeline.input_side.succeeded()
        pipeline.written.forget(flight.token.lane)
        pipeline.counters.acknowledged += flight.read
        pipeline.progress = time.monotonic()
        pipeline.stalls = 0
        if pipeline.narrow:
            doubled = pipeline.narrow * 2
            pipeline.narrow = doubled if doubled < pipeline.policy.batching.rows else 0
        self.flow.give(flight.read, flight.nbytes)

    def emptied(self, lane: Lane) -> None:
        if self.busy.get(lane.name) is lane:
            del self.busy[lane.name]
        self._end_if_done()

    # ---- what goes wrong

    def failed(self, lane: Lane, error: Exception) -> None:
        if isinstance(error, Halted):
            return
        if isinstance(error, Fenced):
            if self.busy.get(lane.name) is lane:
                self._fences.raise_at(lane.name, lane.epoch)
                logger.info("stream %s: lane %s has another owner: %s", self._pipeline.name, lane.name, error.message)
                self._drop(lane)
            return
        self._end(error if isinstance(error, Tripped) else _fault(error, EVERY))

    def _drop(self, lane: Lane) -> None:
        """Forgets what is in flight of a lane that has another owner."""
        counters = self._pipeline.counters
        counters.fenced += 1
        lane.stop(writing=True)
        lane.abandon()
        lane.acknowledging.cancel()
        for flight in lane.flights:
            counters.dropped += flight.rows
            self.flow.give(flight.read, flight.nbytes)
        lane.flights.clear()
        if self.exhausted and self._tasks is not None:
            # what was read to the end is to be read again
            self.exhausted = False
            self._reader = self._tasks.create_task(self._read(), name="read")
        self.emptied(lane)

    async def _watch(self) -> None:
        self._end(await self._watchdog.barked(self.busy.values))


async def _all(tasks: Iterable[asyncio.Task[None] | None]) -> None:
    found = [task for task in tasks if task is not None]
    if found:
        await asyncio.wait(found)


def _fault(error: Exception, sides: frozenset[str]) -> Fault:
    if isinstance(error, Fault):
        return error
    if isinstance(error, SluiceError):
        return Fault(error, sides)
    logger.error("an adapter or a codec failed in an unexpected way", exc_info=error)
    return Fault(unexpected(error), EVERY, hard=True)
