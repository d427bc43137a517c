"""One place for a worker: whoever is in it is watched, replaced when it dies, and recycled when that is asked for."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from gateway.control.backoff import HEALTHY, Crashes
from gateway.control.channel import Gone
from gateway.control.member import Member
from gateway.control.spawn import Role
from gateway.core.errors import SluiceError, Unavailable

logger = logging.getLogger("sluice.control")

#: seconds that a client may be kept waiting
SOME_TIME: Final = 0.5


class Stillborn(Exception):
    """A worker ended before it answered requests. `told`: it said itself why it cannot start."""

    def __init__(self, cause: str, told: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.told = told


@asynccontextmanager
async def birth(member: Member) -> AsyncIterator[None]:
    """What a new worker is told before it answers requests. It does not outlive a failure of that. Raises Stillborn."""
    try:
        yield
    except Gone:
        await member.ended.wait()
        raise Stillborn(member.cause) from None
    except SluiceError as error:
        member.kill("cannot start")
        await member.ended.wait()
        raise Stillborn(error.message, told=True) from error
    except BaseException:
        member.kill("not needed any more")
        raise


class Slot:
    """`run` never ends by itself.

    launch    makes a worker that answers requests; raises Stillborn
    retire    has one drain and end; returns when it is dead
    vacant    called when nobody is to be in it for some time
    """

    def __init__(
        self,
        role: Role,
        number: int,
        launch: Callable[[Slot], Awaitable[Member]],
        retire: Callable[[Member], Coroutine[Any, Any, None]],
        vacant: Callable[[Slot], Awaitable[None]] | None = None,
    ) -> None:
        self.role: Final = role
        self.number: Final = number
        self.name: Final = f"worker {number}" if role == "serving" else f"{role} worker {number}"
        self.current: Member | None = None
        self.crashes = Crashes()
        #: cause → how many were replaced for it
        self.restarts: dict[str, int] = {}
        #: why there is no worker, or why one had to be replaced more than once; "" where all is well
        self.trouble = ""
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._launch = launch
        self._retire = retire
        self._vacant = vacant
        self._wanted: asyncio.Future[asyncio.Task[None]] | None = None
        self._news = asyncio.Event()
        self._retiring: set[asyncio.Task[None]] = set()

    async def recycle(self) -> None:
        """Returns when a new worker has taken over and the old one is gone. Raises Unavailable where none could."""
        if self._wanted is None:
            self._wanted = asyncio.get_running_loop().create_future()
            self._news.set()
        retiring = await asyncio.shield(self._wanted)
        await asyncio.shield(retiring)

    async def run(self) -> None:
        served = 0.0
        while True:
            try:
                self.current = await self._launch(self)
            except Stillborn as failure:
                cause, served = failure.cause, 0.0
                if failure.told and not self.first.done():
                    self.first.set_exception(Unavailable(cause))
                    return
            except Exception as error:
                logger.exception("%s could not be started", self.name)
                cause, served = f"{type(error).__name__} while it was started", 0.0
            else:
                if not self.first.done():
                    self.first.set_result(None)
                cause, served = await self._occupied(self.current)
            self.current = None
            self._give_up_recycling(cause)
            await self._pause(cause, served)

    async def _pause(self, cause: str, served: float) -> None:
        self.crashes = self.crashes.crashed(cause, served)
        self.restarts[cause] = self.restarts.get(cause, 0) + 1
        delay = self.crashes.delay(served)
        row = f", {self.crashes.row} times in a row" if self.crashes.row > 1 else ""
        after = f" in {delay:g} s" if delay else " now"
        self.trouble = f"{cause}{row}"
        logger.error("%s: %s%s; its successor starts%s", self.name, cause, row, after)
        if delay > SOME_TIME and self._vacant is not None:
            await self._vacant(self)
        await asyncio.sleep(delay)

    async def _occupied(self, member: Member) -> tuple[str, float]:
        """Until it dies without having been asked to. Returns the cause, and the seconds that it had served."""
        while True:
            ended = asyncio.create_task(member.ended.wait())
            news = asyncio.create_task(self._news.wait())
            await asyncio.wait((ended, news), return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            news.cancel()
            if member.ended.is_set():
                return member.cause, member.served
            self._news.clear()
            member = await self._replace(member)

    async def _replace(self, old: Member) -> Member:
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return old
        try:
            new = await self._launch(self)
        except Stillborn as failure:
            error = Unavailable(f"{self.name} was not recycled, its successor failed: {failure.cause}")
            wanted.set_exception(error)
            wanted.exception()  # whoever asked may have gone away
            return old
        self.current = new
        task = asyncio.create_task(self._retire(old))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        wanted.set_result(task)
        return new

    def _give_up_recycling(self, cause: str) -> None:
        self._news.clear()
        if self._wanted is not None:
            self._wanted.set_exception(Unavailable(f"{self.name} died while it was to be recycled: {cause}"))
            self._wanted.exception()
            self._wanted = None

    def settled(self) -> None:
        """It has served long enough for its troubles to be over."""
        if self.current is not None and self.trouble and self.current.served > HEALTHY:
            self.trouble = ""


def restarts(slots: Iterable[Slot]) -> dict[str, int]:
    """Cause → how many workers were replaced for it."""
    total: Counter[str] = Counter()
    for slot in slots:
        total.update(slot.restarts)
    return dict(total)
