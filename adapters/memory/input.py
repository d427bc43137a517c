"""Reads a topic."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from adapters.memory.dice import Dice
from adapters.memory.settings import MemorySource
from adapters.memory.topics import topic
from gateway.core.stream import Batch, Context, Credit, Fenced, Lag, Source, Token, Transient


class MemoryInput:
    def __init__(self, settings: MemorySource, context: Context) -> None:
        self.source: Final = Source(
            f"topic '{settings.topic}'", "memory", stable_ids=True, positions=True, ordered=True
        )
        self._settings: Final = settings
        self._context: Final = context
        self._topic: Final = topic(settings.topic)
        self._dice: Final = Dice(settings.faults)
        self._arrived: Final = asyncio.Event()
        self._owned: dict[str, tuple[int, int]] = {}
        self._turn = 0
        self._connected = False

    async def connect(self) -> None:
        if self._dice.falls(self._settings.faults.connect):
            raise Transient(f"{self.source.name} is not there")
        self._owned = {}
        self._topic.listeners.add(self._arrived)
        self._connected = True

    async def _own(self, lane: str) -> None:
        positions = self._context.positions
        epoch, position = self._topic.take_over(self._context.pipeline, lane)
        if positions is not None:
            epoch, stored = await positions.take_over(lane)
            position = stored if stored is not None else position
        self._owned[lane] = epoch, position or 0

    async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
        while True:
            self._check(self._settings.faults.read)
            self._arrived.clear()
            for lane in [lane for lane in self._topic.lanes if lane not in self._owned]:
                await self._own(lane)
            lanes = list(self._owned)
            for step in range(len(lanes)):
                lane = lanes[(self._turn + step) % len(lanes)]
                if self._owned[lane][1] < len(self._topic.lanes[lane].ids):
                    self._turn += step + 1
                    return self._read(lane, credit)
            if self._settings.ends:
                return None
            await self._arrived.wait()

    def _read(self, lane: str, credit: Credit) -> tuple[Batch, Token]:
        epoch, start = self._owned[lane]
        batch = self._topic.lanes[lane].part(start, start + credit.rows)
        if batch.nbytes > credit.nbytes:
            rows = nbytes = 0
            while nbytes <= credit.nbytes and rows < len(batch):
                nbytes += len(batch.values[rows] or b"")
                rows += 1
            batch = batch.part(0, rows)
        stop = start + len(batch)
        self._owned[lane] = epoch, stop
        return batch, Token(lane, epoch, stop)

    def _check(self, chance: float) -> None:
        if not self._connected or self._dice.falls(chance):
            raise Transient(f"the connection to {self.source.name} broke")

    async def ack(self, token: Token) -> None:
        self._check(self._settings.faults.acknowledge)
        if self._dice.falls(self._settings.faults.fence):
            self._topic.take_over(self._context.pipeline, token.lane)
            self._owned.pop(token.lane, None)
        if self._context.positions is None:
            self._topic.store(self._context.pipeline, token)
        elif self._owned.get(token.lane, (0, 0))[0] != token.epoch:
            raise Fenced(f"lane '{token.lane}' is read anew")

    async def lag(self) -> Mapping[str, Lag]:
        return {
            lane: Lag(len(log.ids) - (self._topic.owners.get((self._context.pipeline, lane), (0, None))[1] or 0))
            for lane, log in self._topic.lanes.items()
        }

    async def close(self) -> None:
        self._connected = False
        self._topic.listeners.discard(self._arrived)
