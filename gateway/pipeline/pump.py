"""Works off what is put into it, in order, one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")


class Pump(Generic[T]):
    """Its task lives only as long as there is work: a lane that is idle, one file of a million say, costs nothing.

    `work` handles its own errors. What is put in is bounded by the credits of those who read it.
    """

    def __init__(self, tasks: asyncio.TaskGroup, name: str, work: Callable[[T], Awaitable[None]]) -> None:
        self._tasks: Final = tasks
        self._name: Final = name
        self._work: Final = work
        self.items: Final[deque[T]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def task(self) -> asyncio.Task[None] | None:
        """None while there is nothing to do."""
        return self._task

    def put(self, item: T) -> None:
        if self._stopped:
            return
        self.items.append(item)
        if self._task is None:
            self._task = self._tasks.create_task(self._run(), name=self._name)

    async def _run(self) -> None:
        try:
            while self.items:
                await self._work(self.items.popleft())
        finally:
            self._task = None

    def stop(self) -> None:
        """What is under way goes on to its end, what waits does not begin."""
        self._stopped = True
        self.items.clear()

    def cancel(self) -> None:
        """Of who calls this from within the work, that goes on."""
        self.stop()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
