"""One connector of a pipeline: whether it is connected, who uses it, and how it is connected again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from gateway.core.errors import Internal, SluiceError
from gateway.core.stream import Transient
from gateway.pipeline import policy
from gateway.pipeline.backoff import Backoff
from gateway.pipeline.status import Counters
from gateway.pipeline.stray import stray

logger = logging.getLogger("sluice.streams")

T = TypeVar("T")

#: failures in a row after which a side is closed before it is connected again
_SEVERAL: Final = 3
#: seconds that a close may take: one that hangs keeps nothing else from going on
_CLOSING: Final = 10.0


class Connector(Protocol):
    """An input or an output."""

    async def connect(self) -> None: ...

    async def close(self) -> None: ...


class Side:
    """Belongs to the event loop. `name` is "input", "output" or "dead letters".

    patience  seconds that a connection may take, 0 for ever
    reason    why it is not used at present, or keeps those who use it waiting; "" while all is well
    """

    def __init__(
        self,
        pipeline: str,
        name: str,
        connector: Connector,
        policy: policy.Backoff,
        counters: Counters,
        patience: float = 0.0,
    ) -> None:
        self._pipeline: Final = pipeline
        self.name: Final = name
        self._connector: Final = connector
        self._counters: Final = counters
        self._patience: Final = patience
        self.backoff: Final = Backoff(policy)
        self._reason = ""
        self._told = ""
        self._connected = False
        self._touched = False
        #: grows with each time that it is connected
        self.generation = 0
        self._users = 0
        self._idle: Final = asyncio.Event()
        self._idle.set()
        self._ready: Final = asyncio.Event()
        self._repairing = False

    @property
    def broken(self) -> bool:
        return not self._connected

    @property
    def held(self) -> str:
        """Of an output that is Holding."""
        return str(getattr(self._connector, "held", ""))

    @property
    def reason(self) -> str:
        if self._reason or not self.held:
            return self._reason
        return f"{self.name}: {self.held}"

    async def connect(self) -> None:
        """Unless it is. Raises SluiceError.

        It connects over what is broken, so that one which can save something of it does (a member of a group stays
        one); after several failures it begins from nothing.
        """
        if self._connected:
            return
        if self._touched and self.backoff.failures >= _SEVERAL:
            await self.close()
        self._touched = True
        try:
            async with asyncio.timeout(self._patience or None):
                with stray("connecting"):
                    await self._connector.connect()
        except TimeoutError as error:
            raise Transient(f"no connection within {self._patience:g} s") from error
        if self.generation:
            self._counters.reconnects += 1
        self.generation += 1
        self._connected = True
        self._reason = ""
        self._ready.set()

    async def ready(self) -> None:
        """Waits until it is connected."""
        await self._ready.wait()

    async def use(self, call: Callable[[], Awaitable[T]]) -> T:
        """Calls, while it is connected. Raises what the call raises."""
        self._users += 1
        self._idle.clear()
        try:
            with stray("writing"):
                return await call()
        finally:
            self._users -= 1
            if not self._users:
                self._idle.set()

    async def repair(self, generation: int, error: SluiceError) -> None:
        """Waits a while and connects again, for ever; if somebody is at it since that generation, waits for him."""
        if generation != self.generation or self._repairing:
            await self._ready.wait()
            return
        self._repairing = True
        self.broke()
        try:
            await self._idle.wait()
            while True:
                await self.wait(error)
                try:
                    await self.connect()
                except SluiceError as again:
                    error = again
                except Exception as again:
                    logger.exception("stream %s: connecting the %s failed", self._pipeline, self.name)
                    error = unexpected(again)
                else:
                    return
        finally:
            self._repairing = False

    async def wait(self, error: SluiceError) -> None:
        """As long as the backoff says."""
        delay = self.backoff.failed(error)
        self._reason = f"{self.name}: {error.message}"
        if self.backoff.failures == 1 or self.reason != self._told:
            logger.warning("stream %s waits: %s", self._pipeline, self.reason)
        self._told = self.reason
        self._counters.retries += 1
        await asyncio.sleep(delay)

    def succeeded(self) -> None:
        if self.backoff.failures:
            logger.info("stream %s goes on: its %s works again", self._pipeline, self.name)
            self.backoff.succeeded()
            self._reason = ""

    def broke(self) -> None:
        """It has to be connected again before it is used again."""
        self._connected = False
        self._ready.clear()

    async def close(self) -> None:
        """What it raises is told to the log: it is gone either way."""
        self.broke()
        if not self._touched:
            return
        self._touched = False
        try:
            async with asyncio.timeout(_CLOSING):
                await self._connector.close()
        except TimeoutError:
            logger.warning("stream %s: the %s was not closed within %g s", self._pipeline, self.name, _CLOSING)
        except SluiceError as error:
            logger.info("stream %s: closing the %s: %s", self._pipeline, self.name, error.message)
        except Exception:
            logger.exception("stream %s: closing the %s failed", self._pipeline, self.name)


def unexpected(error: Exception) -> Internal:
    """An error that no adapter should raise."""
    found = Internal(f"{type(error).__name__}: {error}")
    found.__cause__ = error
    return found
