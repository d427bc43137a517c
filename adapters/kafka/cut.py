"""Ends a client of aiokafka 0.14 whose brokers do not answer, and may never. Its own `stop` waits for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any


async def cut(client: Any, tasks: Iterable[asyncio.Task[Any] | None], owner: Any = None) -> None:
    """Closes the connections, and ends those tasks, and all that are methods of `owner`. Returns when all is gone."""
    left = {task for task in tasks if task is not None}
    while True:
        if owner is not None:
            left |= _tasks_of(owner)
        with contextlib.suppress(OSError):
            await client.close()
        update = client._md_update_fut
        if update is not None and not update.done():
            update.set_result(False)  # nobody will any more, and tasks wait for it
        for task in left:
            look_at(task)
        left = {task for task in left if not task.done()}
        if not left:
            return
        # Some wait for their requests when they are cancelled, and cancel one of those when they are again.
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=0.1)


def look_at(waiter: asyncio.Future[Any] | None) -> None:
    """asyncio reports failures that nobody looked at."""
    if waiter is not None and waiter.done() and not waiter.cancelled():
        waiter.exception()


def _tasks_of(owner: Any) -> set[asyncio.Task[Any]]:
    """A sender has its requests in a local variable alone. Cancelled twice it ends without them: they would go on, and
    connect again where nobody closes it."""
    found = set()
    for task in asyncio.all_tasks():
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is not None and frame.f_locals.get("self") is owner:
            found.add(task)
    return found
