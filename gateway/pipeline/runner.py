"""Runs a pipeline for as long as it takes: connects, lets it flow, waits after a failure, connects again.

    input.read() → decode → predict → encode → dead letters, output.write() → input.ack()

What holds for each record, and why, is `Runner.guarantee`; docs/streams.md explains it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Any, Final

from gateway.core.errors import InvalidArgument, SluiceError
from gateway.core.stream import Guarantee, Input, Output, guarantee
from gateway.pipeline.breaker import Breaker
from gateway.pipeline.delivery import Delivery, is_bound
from gateway.pipeline.fault import Fault, Tripped
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.policy import Policy
from gateway.pipeline.scoring.scored import Scores
from gateway.pipeline.session import Session
from gateway.pipeline.side import Side, unexpected
from gateway.pipeline.status import Counters, State, Status
from gateway.pipeline.written import Written

logger = logging.getLogger("sluice.streams")


class _Nothing:
    """What a wait for the model connects."""

    async def connect(self) -> None:
        return

    async def close(self) -> None:
        return


class Runner:
    """Belongs to the event loop. Its connectors are its own from `run` on, which closes them.

    dead  where dead letters go; None: the output keeps them in its own transaction
    """

    def __init__(
        self, name: str, input: Input, output: Output, dead: Output | None, scorer: Scores, policy: Policy
    ) -> None:
        """Raises InvalidArgument where the parts do not go together."""
        bound = is_bound(input.source, output.sink)
        _check(input, output, dead, policy, bound=bound)
        backoff, counters = policy.errors.backoff, Counters()
        self.name: Final = name
        self.guarantee: Final[Guarantee] = guarantee(input.source, output.sink, dead.sink if dead else None)
        self._policy: Final = policy
        self._counters: Final = counters
        self._input: Final = Side(name, "input", input, backoff, counters, policy.errors.stalled)
        self._output: Final = Side(name, "output", output, backoff, counters, policy.errors.stalled)
        self._dead: Final = Side(name, "dead letters", dead, backoff, counters, policy.errors.stalled) if dead else None
        self._breaker: Final = Breaker(policy.errors.breaker)
        delivery = Delivery(
            name, output, self._output, dead, self._dead,
            bound=bound, attempts=policy.errors.attempts, model=scorer.answers, breaker=self._breaker,
            counters=counters,
        )  # fmt: skip
        self._pipeline: Final = Pipeline(
            name, input, self._input, scorer, delivery, self._breaker, policy, counters,
            # in a transaction of the source's, each batch has its own, unless they are positions of one log
            merges=not bound or input.source.positions,
            # what is bound knows by its position
            written=Written(stable=input.source.stable_ids and not bound),
            model=Side(name, "model", _Nothing(), backoff, counters),
        )  # fmt: skip
        self._session: Session | None = None
        self._state: State = "starting"
        self._paused = ""
        self._stopping = False
        self._tripped = False
        self._news: Final = asyncio.Event()

    # ---- from outside

    async def run(self) -> None:
        """Returns when it was drained, or the input has ended and all is acknowledged. Cancelling it drops what is in
        flight, to be read again."""
        logger.info("stream %s starts: %s", self.name, self.guarantee)
        try:
            while not self._stopping:
                if self._paused:
                    await self._rest()
                elif await self._turn():
                    self._state = "finished"
                    break
        finally:
            await self._close()
            if self._state != "finished":
                self._state = "stopped"
            logger.info("stream %s ends: %s", self.name, self._state)

    def drain(self, deadline: float | None = None) -> None:
        """Reads no more; `run` returns when all that was read is acknowledged, at the latest after `deadline` seconds,
        if that is not given, after those of the policy."""
        self._stopping = True
        self._stop("draining", self._policy.drain if deadline is None else deadline)

    def pause(self, reason: str) -> None:
        """Reads no more, and lets go of both sides when all that was read is acknowledged, until it is resumed."""
        if not self._paused:
            logger.warning("stream %s pauses: %s", self.name, reason)
        self._paused = reason or "paused"
        self._tripped = False
        self._stop("pausing", self._policy.drain)

    def resume(self) -> None:
        if self._tripped:
            self._breaker.pardon()
        self._tripped = False
        if self._paused:
            logger.info("stream %s resumes", self.name)
        self._paused = ""
        if self._state == "paused":
            self._state = "starting"
        self._news.set()

    def _stop(self, state: State, deadline: float) -> None:
        self._news.set()
        if self._session is not None:
            self._state = state
            self._session.stop(deadline)

    def status(self) -> Status:
        session, pipeline = self._session, self._pipeline
        now = time.monotonic()
        flow = session.flow if session is not None else None
        oldest = [lane.flights[0].began for lane in session.busy.values() if lane.flights] if session else []
        waits = self._waits()
        state: State = "waiting" if waits and self._state in ("starting", "running") else self._state
        return Status(
            name=self.name,
            state=state,
            reason=self._paused or waits,
            guarantee=str(self.guarantee),
            **asdict(self._counters),
            trips=self._breaker.trips,
            in_flight=flow.rows if flow else 0,
            in_flight_bytes=flow.nbytes if flow else 0,
            lanes=len(oldest),
            oldest=now - min(oldest) if oldest else None,
            progress=None if pipeline.progress is None else now - pipeline.progress,
            lag=pipeline.lag,
            sizes=dict(pipeline.sizes),
        )

    def _waits(self) -> str:
        sides = (self._input, self._output, self._dead, self._pipeline.model)
        reasons = [side.reason for side in sides if side is not None and side.reason]
        return "; ".join(dict.fromkeys(reasons))

    # ---- its life

    async def _turn(self) -> bool:
        """One connected time; whether it was the last. A failure is waited for, and told."""
        try:
            if not await self._undisturbed(self._connect()) or self._stopping or self._paused:
                return False  # also where that was said in the moment in which it was connected
            self._session = Session(self._pipeline)
            self._state = "running"
            await self._session.run()
            return self._session.exhausted and not self._paused
        except Fault as fault:
            for side in self._sides():
                if side.name in fault.sides:
                    side.broke()
                    if fault.hard:
                        await side.close()
            self._pipeline.narrow = fault.narrow or self._pipeline.narrow
            await self._wait(next(side for side in self._sides() if side.name in fault.sides), fault.error)
        except Tripped as tripped:
            self._session = None
            self.pause(tripped.reason)
            self._tripped = True
        except Exception as error:
            logger.exception("stream %s failed in an unexpected way", self.name)
            await self._close()
            await self._wait(self._input, unexpected(error))
        finally:
            self._session = None
        return False

    async def _connect(self) -> None:
        """The output first: an input may ask it for its positions. Raises Fault."""
        for side in self._sides():
            try:
                await side.connect()
            except SluiceError as error:
                raise Fault(error, frozenset({side.name})) from error
            except Exception as error:
                logger.exception("stream %s: connecting the %s failed", self.name, side.name)
                raise Fault(unexpected(error), frozenset({side.name})) from error

    def _sides(self) -> list[Side]:
        return [side for side in (self._output, self._dead, self._input) if side is not None]

    async def _wait(self, side: Side, error: SluiceError) -> None:
        """As long as the side's backoff says, or until somebody wants something else."""
        if not (self._stopping or self._paused):
            await self._undisturbed(side.wait(error))

    async def _undisturbed(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether it came to its end, before somebody wanted something else. Raises what it raises."""
        self._news.clear()
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self._news.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                await tasks[0]
            return tasks[0].done()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _rest(self) -> None:
        """Until it is resumed, or has to stop; a breaker may try by itself."""
        self._news.clear()
        await self._close()
        self._state = "paused"
        retry = self._policy.errors.breaker.retry if self._tripped else 0
        try:
            async with asyncio.timeout(retry or None):
                await self._news.wait()
        except TimeoutError:
            self._tripped = False
            self._breaker.probe()
            self._paused = ""
            logger.info("stream %s tries one batch", self.name)

    async def _close(self) -> None:
        for side in reversed(self._sides()):
            await side.close()


def _check(input: Input, output: Output, dead: Output | None, policy: Policy, *, bound: bool) -> None:
    if dead is None and not output.sink.dead_letters:
        raise InvalidArgument(f"dead letters need an output of their own: {output.sink.name} keeps none")
    if policy.lanes > 1 and bound:
        raise InvalidArgument(
            f"lanes is {policy.lanes}, expected 1: {output.sink.name} stores the position of {input.source.name}"
            " with the results of a batch, which cannot be written in parts"
        )
