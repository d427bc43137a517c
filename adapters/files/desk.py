"""One thread that does a connector's work on files, one thing after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from gateway.core.stream import Transient

T = TypeVar("T")


class Desk:
    """A disk may be slow, and the event loop must not wait for it.

    What was begun is done to its end, also when nobody waits for it any more: so a file is never closed under a read.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None

    async def do(self, work: Callable[..., T], *given: Any) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "sluice-files")
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *given))

    def leave(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None


@contextmanager
def on(what: str) -> Iterator[None]:
    """A full disk, a missing right, a folder that is away: all may be mended while the pipeline waits."""
    try:
        yield
    except OSError as error:
        raise Transient(f"{what}: {error.strerror or error}") from error
