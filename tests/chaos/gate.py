"""A place in a worker where a test can hold it, and let it go on: files in a folder that both know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

#: seconds between two looks
_OFTEN: Final = 0.01


class Gate:
    """A test closes it; the first that comes to it is held until the test opens it. Open, it stops nobody."""

    def __init__(self, folder: Path, name: str) -> None:
        self._closed: Final = folder / f"{name}.closed"
        self._held: Final = folder / f"{name}.held"
        self._passed: Final = folder / f"{name}.passed"

    # ---- the test's side

    def close(self) -> None:
        self.open()
        self._passed.unlink(missing_ok=True)
        self._closed.touch()

    def open(self) -> None:
        self._closed.unlink(missing_ok=True)
        self._held.unlink(missing_ok=True)

    def holds(self, limit: float) -> bool:
        """Whether somebody is held within so many seconds."""
        return _comes(self._held, limit)

    def passed(self, limit: float) -> bool:
        """Whether who was held is done with what lies behind it within so many seconds."""
        return _comes(self._passed, limit)

    # ---- the worker's side

    @asynccontextmanager
    async def through(self) -> AsyncIterator[None]:
        try:
            self._closed.rename(self._held)
        except FileNotFoundError:
            yield
            return
        try:
            while self._held.exists():  # noqa: ASYNC110 - another process takes it away
                await asyncio.sleep(_OFTEN)
            yield
        finally:
            self._passed.touch()


def _comes(path: Path, limit: float) -> bool:
    end = time.monotonic() + limit
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(_OFTEN)
    return True
