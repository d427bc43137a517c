"""Whether traffic is welcome, and the signals that end it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

logger = logging.getLogger("sluice")

GOOD, INTERRUPTED = 0, 130
#: which signals end a server, and its exit code then
SIGNALS: Final = {signal.SIGTERM: GOOD, signal.SIGINT: INTERRUPTED}


class Stop:
    """A second signal ends the process at once."""

    def __init__(self) -> None:
        self.ready = False
        self.code = GOOD
        #: called when `ready` changes
        self.watchers: list[Callable[[], None]] = []
        #: called before the process ends at once
        self.last: list[Callable[[], None]] = []
        self._asked = asyncio.Event()

    def listen(self) -> None:
        """To signals, from now on."""
        loop = asyncio.get_running_loop()
        for number, code in SIGNALS.items():
            loop.add_signal_handler(number, self._on_signal, code)

    def set_ready(self, ready: bool) -> None:
        self.ready = ready
        for watcher in self.watchers:
            watcher()

    def ask(self, code: int = GOOD) -> None:
        """As a signal does, but asked for twice it is asked for once."""
        if not self._asked.is_set():
            self.code = code
            self._asked.set()

    def _on_signal(self, code: int) -> None:
        self.code = code
        if self._asked.is_set():
            logger.warning("stopped at once")
            for each in self.last:
                each()
            end(code)
        self._asked.set()

    async def wait(self) -> None:
        await self._asked.wait()

    async def unless(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether the work was done before a signal; else it is cancelled."""
        asked, task = asyncio.create_task(self.wait()), asyncio.create_task(work)
        try:
            await asyncio.wait((asked, task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
        if task.cancelled():
            return False
        task.result()
        return True


def end(code: int) -> None:
    """Without waiting for anything, threads that run a model among it."""
    logging.shutdown()
    os._exit(code)
