"""Workers that are there and say nothing: one whose loop hangs is worse than one that died, for nobody misses it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

from gateway.control.member import Member
from gateway.control.slot import Slot

#: seconds that a worker may take until it is heard for the first time
FIRST_WORD: Final = 60.0


async def watch(members: Collection[Member], slots: Sequence[Slot], limit: float) -> None:
    """Kills who is silent for `limit` seconds, for ever. A worker says something twice a second; a spare one need not.

    members   those that there are, which change meanwhile
    slots     told at each look that time has passed
    """
    loop = asyncio.get_running_loop()
    every = min(1.0, limit / 4)
    while True:
        before = loop.time()
        await asyncio.sleep(every)
        if loop.time() - before > every + limit / 2:
            continue  # this process itself was held up: what the others said is still to be read
        for member in list(members):
            if member.state == "spare":
                continue
            patience = limit if member.spoke else max(FIRST_WORD, limit)
            if loop.time() - member.channel.heard > patience:
                member.kill(f"silent for {patience:g} s")
        for slot in slots:
            slot.settled()
