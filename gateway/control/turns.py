"""Changes of the desired state, one after the other.

What is written, by compare-and-set and together with its audit line, is the truth from then on; a change that others
were faster than is made anew on top of theirs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

from gateway.control.caller import Caller
from gateway.control.desired import Desired
from gateway.control.following import Following
from gateway.core.background import Background
from gateway.core.errors import Conflict
from gateway.store.contract import Act, Mutation, State, Store

logger = logging.getLogger("sluice.control")

T = TypeVar("T")

#: tries of a change that others were faster than
CONFLICTS: Final = 10


class Turns:
    """Belongs to the event loop. A turn is taken to its end even if the caller goes away."""

    def __init__(self, store: Store, follower: Following) -> None:
        self._store: Final = store
        self._follower: Final = follower
        self._turn: Final = asyncio.Lock()
        self._background: Final = Background(logger)
        #: the revision that all workers have acknowledged
        self.in_force = 0

    async def take(self, work: Coroutine[Any, Any, T]) -> T:
        """While nothing else changes anything."""

        async def turn() -> T:
            async with self._turn:
                try:
                    return await work
                finally:
                    self.in_force = self._follower.state.revision

        return await self._background.whole(turn())

    async def finished(self) -> None:
        """Waits for what is under way."""
        await self._background.finished()

    async def change(self, by: Caller, work: Callable[[], Awaitable[None]]) -> Desired:
        """`work` checks, writes and publishes. Returns what is desired from now on. Raises Conflict where the revision
        that the caller expected is not the newest any more, and what `work` raises."""
        expected = by.get("expected")

        async def turn() -> Desired:
            for tries_left in reversed(range(CONFLICTS)):
                try:
                    revision = self._follower.state.revision
                    if expected is not None and expected != revision:
                        raise Conflict(f"the control state is at revision {revision}, not {expected}")
                    await work()
                    break
                except Conflict:
                    # Somebody else may write to the same store: catch up, so that the next try can succeed. It is
                    # made here unless the caller decided on a revision that is gone.
                    if not await self.catch_up() or expected is not None or not tries_left:
                        raise
            return self._follower.desired

        return await self.take(turn())

    async def write(self, mutation: Mutation, entry: Act, blobs: Mapping[str, bytes] | None = None) -> State:
        """In a turn. Raises Conflict where the store has moved without this process."""
        state = await self._store.change(self._follower.state.revision, mutation, entry, blobs)
        logger.info(
            "revision %d: %s %s, by %s from %s",
            state.revision, entry.action, entry.target, entry.actor, entry.origin,
        )  # fmt: skip
        return state

    async def catch_up(self) -> bool:
        """In a turn: follows the store; whether there was anything new."""
        state = await self._store.read()
        if state.revision == self._follower.state.revision:
            return False
        await self._follower.follow(state)
        return True
