"""What has become of the messages of one write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.core.stream import Transient


class Publication:
    """Belongs to the event loop. Its messages are told apart by their row in the batch."""

    def __init__(self, ids: Sequence[str], routes: Mapping[int, bytes]) -> None:
        """ids: of the whole batch; routes: of those that are published, the method that does it"""
        self.ids: Final = ids
        self.routes: Final = routes
        self._left = len(routes)
        self.confirmed: Final[set[int]] = set()
        #: row → why no queue has taken it, in the broker's words
        self.unroutable: Final[dict[int, str]] = {}
        #: rows that the broker has not taken: it failed, or a queue is full
        self.rejected: Final[list[int]] = []
        self._over: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()

    def settle(self, row: int, taken: bool) -> None:
        """The broker's word on it. That no queue takes it has been said before."""
        if not taken:
            self.rejected.append(row)
        elif row not in self.unroutable:
            self.confirmed.add(row)
        self._left -= 1
        if not self._left and not self._over.done():
            self._over.set_result(None)

    def fail(self, error: Transient) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    async def over(self, seconds: float) -> bool:
        """False where the broker has not said something of each within that time. Raises Transient."""
        done, _ = await asyncio.wait({self._over}, timeout=seconds)
        if done:
            self._over.result()
        return bool(done)

    def give_up(self) -> None:
        """Nobody waits any more."""
        self._over.cancel()
