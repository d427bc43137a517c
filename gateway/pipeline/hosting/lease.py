"""One process at a time does the work; the others stand by and take over."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from gateway.core.errors import Unavailable
from gateway.store.leases import Leases

logger = logging.getLogger("sluice.streams")


def owner() -> str:
    """This process, as others will see it named."""
    return f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"


class Lease:
    """Keeps a lease while work goes on under it.

    seconds   that it lasts without being renewed: so long it takes to replace a process that died
    """

    def __init__(self, leases: Leases, name: str, owner: str, seconds: float = 10.0) -> None:
        self._leases: Final = leases
        self._name: Final = name
        self._owner: Final = owner
        self._seconds: Final = seconds
        #: 0: it stands by
        self.epoch = 0

    async def hold(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Waits for the lease, then works under it. False where it was lost meanwhile, and the work cut off.

        The work is cut off on our own monotonic clock, before the lease can be another's, whatever the store's clock
        or the way to the store does.
        """
        asked = await self._wait()
        task = asyncio.ensure_future(work())
        keeping = asyncio.create_task(self._keep(asked))
        try:
            await asyncio.wait((task, keeping), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                logger.warning("'%s': the lease is lost, another process may have it", self._name)
                return False
            task.result()
            return True
        finally:
            for each in (task, keeping):
                each.cancel()
            await asyncio.gather(task, keeping, return_exceptions=True)
            with suppress(Unavailable):
                await self._leases.release(self._name, self._owner, self.epoch)
            self.epoch = 0

    async def _wait(self) -> float:
        """Returns when it was asked for, by the monotonic clock."""
        told = False
        while True:
            asked = time.monotonic()
            try:
                epoch = await self._leases.acquire(self._name, self._owner, self._seconds)
            except Unavailable as error:
                logger.warning("'%s': no lease: %s", self._name, error.message)
                epoch = None
            if epoch is not None:
                self.epoch = epoch
                return asked
            if not told:
                logger.info("'%s' stands by: another process has its lease", self._name)
                told = True
            await asyncio.sleep(self._seconds / 10)

    async def _keep(self, asked: float) -> None:
        """Returns when the lease is lost, or soon may be."""
        while True:
            # a third of the time to renew it, and a tenth to stop before it runs out
            last = asked + 0.9 * self._seconds
            await asyncio.sleep(self._seconds / 3)
            began = time.monotonic()
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + last - began):
                    await self._renew()
            except (TimeoutError, _Lost):
                return
            asked = began

    async def _renew(self) -> None:
        """Tries until it succeeds. Raises _Lost where the lease is another one's."""
        while True:
            try:
                if not await self._leases.renew(self._name, self._owner, self.epoch, self._seconds):
                    raise _Lost
            except Unavailable:
                await asyncio.sleep(self._seconds / 20)
            else:
                return


class _Lost(Exception):
    pass
