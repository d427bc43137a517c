"""Workers that are there and say nothing: one whose loop hangs is worse than one that died, for nobody misses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from gateway.control.member import Member

#: seconds that a worker may take until it is heard for the first time
FIRST_WORD: Final = 60.0


async def watch(members: Callable[[], Iterable[Member]], limit: float, then: Callable[[], None] = lambda: None) -> None:
    """Kills who is silent for `limit` seconds, for ever. A worker says something twice a second; a spare one need not.

    then   called after each look
    """
    loop = asyncio.get_running_loop()
    every = min(1.0, limit / 4)
    while True:
        before = loop.time()
        await asyncio.sleep(every)
        if loop.time() - before > every + limit / 2:
            continue  # this process itself was held up: what the others said is still to be read
        for member in members():
            if member.state == "spare":
                continue
            patience = limit if member.spoke else max(FIRST_WORD, limit)
            if loop.time() - member.channel.heard > patience:
                member.kill(f"silent for {patience:g} s")
        then()
