"""A cancellation that nobody has asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.core.stream import Transient


@contextmanager
def stray(what: str) -> Iterator[None]:
    """Around a call of a connector. A driver that cancels a future raises CancelledError in whoever waits for it, whose
    task would end without a word, and a lane with it. Raises Transient instead."""
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Transient(f"{what}: its driver gave it up") from error
