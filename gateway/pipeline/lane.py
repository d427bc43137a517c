"""What is in flight of one lane: scored in order, written in order by key, acknowledged in order.

Three pumps, so that a batch is scored while the one before it is written, and acknowledged while the next one is.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, Protocol

from gateway.pipeline.delivery import Part, split
from gateway.pipeline.flight import Flight, joined
from gateway.pipeline.pump import Pump
from gateway.pipeline.scoring.scored import Scored


class Steps(Protocol):
    """What is done with a flight, and with what goes wrong.

    merges   batches may be scored and written together, up to `most` rows, waiting for up to `linger` seconds
    hungry   the reader waits for credit: nothing more will come before something is done with
    """

    @property
    def merges(self) -> bool: ...

    @property
    def linger(self) -> float: ...

    @property
    def ahead(self) -> int: ...

    @property
    def lanes(self) -> int: ...

    @property
    def most(self) -> int: ...

    @property
    def hungry(self) -> bool: ...

    async def score(self, flight: Flight) -> Scored: ...

    async def deliver(self, part: Part) -> None: ...

    async def acknowledge(self, flight: Flight) -> None: ...

    def merged(self, flights: int) -> None: ...

    def failed(self, lane: Lane, error: Exception) -> None: ...

    def emptied(self, lane: Lane) -> None: ...


class Lane:
    """Belongs to the event loop. It is forgotten when it is empty.

    after  the writes of the lane's owner before: order is kept across a change of the epoch
    """

    def __init__(self, name: str, epoch: int, tasks: asyncio.TaskGroup, steps: Steps, after: set[Any]) -> None:
        self.name: Final = name
        self.epoch: Final = epoch
        self._steps: Final = steps
        self._after = after
        self.scoring: Final = Pump[Flight](tasks, f"score {name}", self._score)
        self.writing: Final = [Pump[Part](tasks, f"write {name}", self._write) for _ in range(steps.lanes)]
        self.acknowledging: Final = Pump[Flight](tasks, f"acknowledge {name}", self._acknowledge)
        #: everything that was read and is not acknowledged, in order
        self.flights: Final[deque[Flight]] = deque()
        #: `time.monotonic()` of the last step that was done; at the model it takes as long as it takes
        self.stepped = time.monotonic()
        self.at_model = False
        self._unwritten = 0
        self._changed: Final = asyncio.Event()

    def add(self, flight: Flight) -> None:
        self.flights.append(flight)
        self.scoring.put(flight)
        self._changed.set()

    def tasks(self) -> Iterator[asyncio.Task[None]]:
        """Of the writes and acknowledgements that are under way."""
        for task in (*(pump.task for pump in self.writing), self.acknowledging.task):
            if task is not None:
                yield task

    async def _score(self, flight: Flight) -> None:
        steps = self._steps
        try:
            if self._after:
                await asyncio.wait(self._after)
                self._after = set()
            while self._unwritten > steps.ahead:
                await self._change()
            if steps.merges:
                flight = await self._gathered(flight)
            self.at_model = True
            flight.scored = await steps.score(flight)
            parts = split(flight, steps.lanes)
        except Exception as error:  # noqa: BLE001 - the session says what is to be done about it
            self.scoring.stop()
            steps.failed(self, error)
            return
        finally:
            self.at_model = False
            self.stepped = time.monotonic()
        flight.parts = len(parts)
        self._unwritten += 1
        self.acknowledging.put(flight)
        for pump, part in zip(self.writing, parts, strict=True):
            pump.put(part)

    async def _gathered(self, first: Flight) -> Flight:
        """With those that wait behind it, as far as they make one batch."""
        steps = self._steps
        waiting = self.scoring.items
        found, rows = [first], first.rows
        until = 0.0
        while True:
            while waiting and rows + waiting[0].rows <= steps.most:
                found.append(waiting.popleft())
                rows += found[-1].rows
            if waiting or not steps.linger or rows >= steps.most or steps.hungry:
                break
            now = asyncio.get_running_loop().time()
            until = until or now + steps.linger
            if now >= until or not await self._change(until - now):
                break
        if len(found) == 1:
            return first
        flight = joined(found)
        self.flights[self.flights.index(first)] = flight
        for other in found[1:]:
            self.flights.remove(other)
        steps.merged(len(found))
        return flight

    def nudge(self) -> None:
        """Something has changed that a batch may wait for."""
        self._changed.set()

    async def _change(self, patience: float | None = None) -> bool:
        """Waits for news; False if there were none in that time."""
        self._changed.clear()
        try:
            async with asyncio.timeout(patience):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _write(self, part: Part) -> None:
        try:
            await self._steps.deliver(part)
        except Exception as error:  # noqa: BLE001 - the session says what is to be done about it
            self._failed(error)
            return
        self.stepped = time.monotonic()
        part.flight.part_done()
        if not part.flight.parts:
            self._unwritten -= 1
            self._changed.set()

    async def _acknowledge(self, flight: Flight) -> None:
        await flight.done.wait()
        if flight.abandoned:
            # an acknowledgement is one of everything before it, too
            self.acknowledging.stop()
            return
        try:
            await self._steps.acknowledge(flight)
        except Exception as error:  # noqa: BLE001 - the session says what is to be done about it
            self._failed(error)
            return
        self.stepped = time.monotonic()
        self.flights.remove(flight)
        if not self.flights:
            self._steps.emptied(self)

    def _failed(self, error: Exception) -> None:
        """What comes after it in the lane does not overtake it."""
        self.stop(writing=True)
        self._steps.failed(self, error)

    def stop_scoring(self) -> None:
        """What is scored is written, nothing else."""
        self.scoring.cancel()

    def stop(self, *, writing: bool) -> None:
        """Nothing begins any more. `writing`: writes that are under way may end, and be acknowledged."""
        self.scoring.cancel()
        for pump in self.writing:
            if writing:
                pump.stop()
            else:
                pump.cancel()

    def abandon(self) -> None:
        """What is not written is not waited for."""
        for flight in self.flights:
            flight.abandon()

    def cancel(self) -> None:
        self.stop(writing=False)
        self.acknowledging.cancel()
