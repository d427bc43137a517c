"""A worker's report of itself, told to its supervisor again and again: what it counts, and that it is alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from gateway.control.channel import Channel
from gateway.control.report import Report

#: seconds between two reports that nobody asked for
EVERY: Final = 0.5
#: making them takes no more of a core than one part of so many
SHARE: Final = 100


async def report_on(channel: Channel, make: Callable[[], Report]) -> None:
    """For ever."""
    while True:
        began = time.perf_counter()
        if not channel.congested:
            channel.tell("report", make())
        await asyncio.sleep(max(EVERY, SHARE * (time.perf_counter() - began)))
