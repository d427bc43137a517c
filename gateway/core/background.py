"""Work that is done to its end, whatever becomes of who asked for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Belongs to the event loop. `logger` hears of failures that nobody else does."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def whole(self, work: Coroutine[Any, Any, T], undo: Callable[[T], None] | None = None) -> T:
        """Waits for it. If the caller goes away meanwhile, the work goes on, and `undo` gets its result."""
        task = self.start(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: self._abandoned(done, undo))
            raise

    async def finished(self) -> None:
        """Waits until nothing is under way."""
        while self._running:
            await asyncio.wait(self._running)

    def _abandoned(self, done: asyncio.Task[T], undo: Callable[[T], None] | None) -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error is not None:
            self._logger.warning("what nobody waited for has failed: %s", error)
        elif undo is not None:
            undo(done.result())
