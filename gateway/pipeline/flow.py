"""The credits of a pipeline: how much may be in flight, in records and in bytes."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.core.stream import Credit
from gateway.pipeline.policy import Batching


class Flow:
    """Belongs to the event loop, and to one reader.

    A read may exceed the credit by its last record, so that one which is larger than all of it still passes, alone:
    nothing more is read until there is credit again.
    """

    def __init__(self, batching: Batching, depth: int = 0) -> None:
        self._batching: Final = batching
        self._depth: Final = depth
        self.rows = 0
        self.nbytes = 0
        self.batches = 0
        #: the reader waits for credit
        self.blocked = False
        self._given: Final = asyncio.Event()

    def free(self, most: int) -> bool:
        """Whether there is room for a batch of `most` records, or for half of all that may be in flight: what is read
        for every bit of credit makes batches smaller and smaller."""
        room = self._batching.rows_in_flight - self.rows
        return (
            room >= min(most, (self._batching.rows_in_flight + 1) // 2)
            and self.nbytes < self._batching.bytes_in_flight
            and (not self._depth or self.batches < self._depth)
        )

    async def credit(self, most: int) -> Credit:
        """Waits until there is some; at most `most` records of it."""
        while not self.free(most):
            self.blocked = True
            self._given.clear()
            await self._given.wait()
        self.blocked = False
        return Credit(
            min(most, self._batching.rows_in_flight - self.rows), self._batching.bytes_in_flight - self.nbytes
        )

    def take(self, rows: int, nbytes: int) -> None:
        self.rows += rows
        self.nbytes += nbytes
        self.batches += 1

    def merge(self, batches: int) -> None:
        """So many batches have become one."""
        self.batches -= batches - 1
        self._given.set()

    def give(self, rows: int, nbytes: int) -> None:
        self.rows -= rows
        self.nbytes -= nbytes
        self.batches -= 1
        self._given.set()
