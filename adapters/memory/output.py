"""Writes to a topic."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from adapters.memory.dice import Dice
from adapters.memory.settings import MemorySink
from adapters.memory.topics import topic
from gateway.core.stream import Ability, Batch, Context, DataError, DeadLetter, OutcomeUnknown, Rows, Sink, Transient


class MemoryOutput:
    """A PositionStore, where that is its ability."""

    def __init__(self, settings: MemorySink, context: Context) -> None:
        ability = Ability[settings.ability.upper()]
        self.sink: Final = Sink(
            f"topic '{settings.topic}'", frozenset({ability}), "memory", dead_letters=settings.dead_letters
        )
        self._ability: Final = ability
        self._settings: Final = settings
        self._context: Final = context
        self._topic: Final = topic(settings.topic)
        self._dice: Final = Dice(settings.faults)
        self._connected = False

    async def connect(self) -> None:
        if self._dice.falls(self._settings.faults.connect):
            raise Transient(f"{self.sink.name} is not there")
        self._connected = True

    async def take_over(self, lane: str) -> tuple[int, int | None]:
        if not self._connected:
            raise Transient(f"{self.sink.name} is not connected")
        return self._topic.take_over(self._context.pipeline, lane)

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        faults = self._settings.faults
        if faults.delay:
            await asyncio.sleep(faults.delay)
        if not self._connected or self._dice.falls(faults.write):
            raise Transient(f"the connection to {self.sink.name} broke")
        if self._settings.capacity and len(self._topic) + len(rows.batch) > self._settings.capacity:
            raise Transient(f"{self.sink.name} is full, it holds {self._settings.capacity} records")
        if faults.refuse:
            self._refuse(rows.batch)
        lost = self._dice.falls(faults.unknown)
        if not lost or self._dice.falls(0.5):
            self._commit(rows, dead)
        if lost:
            raise OutcomeUnknown(f"the connection to {self.sink.name} broke before it answered")

    def _refuse(self, batch: Batch) -> None:
        for at, value in enumerate(batch.values):
            if value is not None and self._settings.faults.refuse.encode() in value:
                message = f"it has '{self._settings.faults.refuse}' in it"
                raise DataError(message, -1 if self._settings.faults.anonymous else at)

    def _commit(self, rows: Rows, dead: Sequence[DeadLetter]) -> None:
        source = rows.source
        if source.position is not None:
            if self._ability is Ability.TRANSACTIONAL:
                topic(source.lane.rpartition("/")[0]).store(self._context.pipeline, source)
            elif self._ability is Ability.STORES_OFFSETS:
                self._topic.store(self._context.pipeline, source)
        lane = source.lane.rpartition("/")[2]
        if self._ability is Ability.IDEMPOTENT:
            self._topic.replace(rows.batch, lane)
        elif len(rows.batch):
            self._topic.append(rows.batch, lane)
        self._topic.bury(dead, by_id=self._ability is Ability.IDEMPOTENT)

    async def close(self) -> None:
        self._connected = False
