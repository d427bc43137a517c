"""Writes what came of a batch: results to the output, the rest to the dead letters, in the order that loses nothing.

Dead letters are durable before the results: a position that the output stores says that both are. An output that takes
part in the source's transaction, or stores its position, is written to once a batch and never tried again from memory:
after a failure the position is read again. Any other is tried until it works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.core import letter
from gateway.core.crashpoint import crash
from gateway.core.errors import InvalidArgument, SluiceError
from gateway.core.stream import (
    Ability,
    Batch,
    DeadLetter,
    Fenced,
    OutcomeUnknown,
    Output,
    Rows,
    Sink,
    Source,
    Token,
    at_fault,
)
from gateway.pipeline.breaker import Breaker
from gateway.pipeline.fault import BOTH, Fault, Halted, Tripped
from gateway.pipeline.flight import Flight
from gateway.pipeline.scoring.stamp import attempts, bare
from gateway.pipeline.side import Side
from gateway.pipeline.status import Counters


def is_bound(source: Source, sink: Sink) -> bool:
    """Whether a write to it moves the source's position: nothing of a batch may then be written apart from the rest."""
    able = sink.abilities
    return (Ability.TRANSACTIONAL in able and bool(source.domain) and source.domain == sink.domain) or (
        Ability.STORES_OFFSETS in able and source.positions
    )


@dataclass(slots=True)
class Part:
    """Some of a flight's results: `rows` are the indexes of their records in the flight's batch; `dead` are the
    indexes and reasons of those that have none."""

    flight: Flight
    batch: Batch
    rows: Sequence[int]
    dead: dict[int, str]


class Delivery:
    """Belongs to the event loop; parts of different lanes are delivered at the same time."""

    def __init__(
        self,
        pipeline: str,
        output: Output,
        side: Side,
        dead: Output | None,
        dead_side: Side | None,
        *,
        bound: bool,
        attempts: int,
        model: str,
        breaker: Breaker,
        counters: Counters,
    ) -> None:
        self._pipeline: Final = pipeline
        self._output: Final = output
        self._side: Final = side
        self._dead: Final = dead
        self._dead_side: Final = dead_side
        self._bound: Final = bound
        self._attempts: Final = attempts
        self._model: Final = model
        self._breaker: Final = breaker
        self._counters: Final = counters
        #: nothing is waited for any more
        self.halt = asyncio.Event()

    @property
    def waits(self) -> bool:
        """A side that it writes to is being connected again, or says why it waits."""
        sides = [side for side in (self._side, self._dead_side) if side is not None]
        return any(side.broken or side.held for side in sides)

    async def deliver(self, part: Part) -> None:
        """Returns when all of it is durable. Raises Fenced, Tripped, Halted; Fault where all has to be read again."""
        if self._dead is not None:
            await self._bury(part, part.dead)
            await self._write(part, part.batch, part.rows, {})
        else:
            await self._write(part, part.batch, part.rows, part.dead)

    async def _write(self, part: Part, batch: Batch, rows: Sequence[int], dead: dict[int, str]) -> None:
        """`dead` are dead letters that the output itself keeps."""
        tries = 0
        while len(batch) or dead or (self._bound and part.flight.tokens):
            generation = self._side.generation
            try:
                await self._attempt(part, batch, dead)
            except SluiceError as error:
                if isinstance(error, Fenced):
                    raise
                if isinstance(error, OutcomeUnknown):
                    raise Fault(error, BOTH) from error
                if at_fault(error):
                    found = getattr(error, "record", -1)
                    if not 0 <= found < len(batch):
                        if len(batch) != 1:
                            await self._bisect(part, batch, rows, dead, error)
                            return
                        found = 0
                    batch, rows, dead = await self._without(part, batch, rows, dead, found, error.message)
                    continue
                if self._bound:
                    raise Fault(error, BOTH) from error
                tries += 1
                if self._attempts and tries >= self._attempts and len(batch):
                    letters = dict.fromkeys(rows, f"after {tries} tries: {error.message}")
                    await self._give_up(part, letters, error)
                    return
                await self._unless_halted(self._side.repair(generation, error))
            else:
                self._side.succeeded()
                self._counters.written += len(batch)
                self._counters.dead += len(dead)
                part.flight.written.append(batch.ids)
                return

    async def _attempt(self, part: Part, batch: Batch, dead: dict[int, str]) -> None:
        if crash is not None:
            crash.reach("before-write")
        letters = self._letters(part.flight, dead)
        if letters and crash is not None:
            crash.reach("in-dead-letter")
        await self._unless_broken(self._side)
        await self._side.use(lambda: self._output.write(Rows(batch, part.flight.token), letters))
        if crash is not None:
            crash.reach("after-write")

    async def _without(
        self, part: Part, batch: Batch, rows: Sequence[int], dead: dict[int, str], at: int, reason: str
    ) -> tuple[Batch, Sequence[int], dict[int, str]]:
        """The same without a row that the output refuses, which becomes a dead letter."""
        if tripped := self._breaker.refused(reason):
            raise Tripped(tripped)
        refused = {rows[at]: reason}
        if self._dead is not None:
            await self._bury(part, refused)
        else:
            dead = {**dead, **refused}
        keep = [i for i in range(len(batch)) if i != at]
        return batch.take(keep), [rows[i] for i in keep], dead

    async def _bisect(
        self, part: Part, batch: Batch, rows: Sequence[int], dead: dict[int, str], error: SluiceError
    ) -> None:
        if not len(batch):
            # the output refuses the dead letters that it keeps itself
            raise Fault(error, BOTH) from error
        if self._bound:
            # a part that is written moves the position past the other: the batch is read again, in halves
            raise Fault(error, BOTH, narrow=max(1, len(part.flight.batch) // 2)) from error
        middle = len(batch) // 2
        await self._write(part, batch.part(0, middle), rows[:middle], dead)
        await self._write(part, batch.part(middle, len(batch)), rows[middle:], {})

    async def _give_up(self, part: Part, letters: dict[int, str], error: SluiceError) -> None:
        if self._dead is None:
            # the output that is not there is where they would go
            raise Fault(error, BOTH) from error
        await self._bury(part, letters)

    async def _bury(self, part: Part, dead: dict[int, str]) -> None:
        """Writes dead letters to where they go; waits for as long as that takes."""
        if not dead:
            return
        output, side = self._dead, self._dead_side
        if output is None or side is None:
            raise AssertionError("the output keeps the dead letters")
        letters = self._letters(part.flight, dead)
        batch = enveloped(letters)
        token = part.flight.token
        rows = Rows(batch, Token(token.lane, token.epoch))
        if crash is not None:
            crash.reach("in-dead-letter")
        while True:
            generation = side.generation
            try:
                await self._unless_broken(side)
                await side.use(lambda: output.write(rows))
            except SluiceError as error:
                await self._unless_halted(side.repair(generation, error))
            else:
                break
        side.succeeded()
        self._counters.dead += len(letters)
        part.flight.written.append(batch.ids)

    async def _unless_broken(self, side: Side) -> None:
        if side.broken:
            await self._unless_halted(side.ready())

    async def _unless_halted(self, waiting: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(self.halt.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not tasks[0].done():
                raise Halted
            await tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _letters(self, flight: Flight, dead: dict[int, str]) -> list[DeadLetter]:
        position = "" if flight.token.position is None else str(flight.token.position)[:200]
        found = []
        for row, reason in dead.items():
            message = flight.batch[row]
            headers = message.headers
            if headers:
                message = type(message)(message.id, message.value, message.key, bare(headers), message.timestamp)
            found.append(DeadLetter(message, reason, flight.token.lane, position, attempts(headers) + 1, self._model))
        return found


def enveloped(letters: Sequence[DeadLetter]) -> Batch:
    """Dead letters as records of an output: each with the id and the key of the record that it is about."""
    keys = [found.message.key for found in letters]
    return Batch(
        [found.message.id for found in letters],
        [letter.encode(found) for found in letters],
        keys if any(key is not None for key in keys) else (),
    )


def split(flight: Flight, lanes: int, chance: Callable[[bytes], int] = hash) -> list[Part]:
    """A scored flight in `lanes` parts by the hash of the records' keys, those without a key by their id's. The first
    part has the dead letters."""
    scored = flight.scored
    if scored is None:
        raise InvalidArgument("it is not scored")
    if lanes == 1:
        return [Part(flight, scored.batch, scored.rows, scored.errors)]
    batch = scored.batch
    keys: Sequence[bytes | None] = batch.keys or [None] * len(batch)
    where: list[list[int]] = [[] for _ in range(lanes)]
    for at, (key, name) in enumerate(zip(keys, batch.ids, strict=True)):
        where[chance(name.encode() if key is None else key) % lanes].append(at)
    return [
        Part(flight, batch.take(rows), [scored.rows[at] for at in rows], scored.errors if not number else {})
        for number, rows in enumerate(where)
    ]
