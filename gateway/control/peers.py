"""The gateways that share a store: following what others changed, and knowing who has it in force."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.core.errors import DeadlineExceeded, SluiceError, Unavailable
from gateway.store.contract import LIVE_FOR, Channel, Machine, SharedStore, State, Unusable

logger = logging.getLogger("sluice.control")

#: seconds between two looks at the store where nothing is heard from it
POLL: Final = 1.0
#: seconds between two tries to reach a store that is gone: at first, at most
FIRST_PAUSE, MOST_PAUSE = 0.1, 3.0
#: seconds between two tries to serve what is desired and could not be served, as a version whose files come later
AGAIN: Final = 5.0
#: seconds to take leave in
LEAVE_LIMIT: Final = 1.0


class Followed(Protocol):
    """What `Peers` needs of this gateway's control plane."""

    @property
    def state(self) -> State: ...

    @property
    def in_force(self) -> int:
        """The revision that all workers have acknowledged."""
        ...

    def troubles(self) -> Mapping[str, str]:
        """Model → why it is not served here as it is desired."""
        ...

    async def catch_up(self, *, again: bool = False) -> None:
        """Reads the store and follows it, wherever it leads; `again` even if it leads nowhere new."""
        ...


@dataclass(frozen=True, slots=True)
class Contact:
    """With the store. `since` is when that began, in seconds since the epoch.

    revision   the newest that was seen in the store
    """

    up: bool
    since: float
    revision: int = 0
    reason: str = ""


class Peers:
    """`start` after the first snapshot is in force; `close` takes leave of the others. Belongs to the event loop."""

    def __init__(self, store: SharedStore, plane: Followed) -> None:
        self._store = store
        self._plane = plane
        self._task: asyncio.Task[None] | None = None
        self._catching: asyncio.Task[None] | None = None
        self._channel: Channel | None = None
        self._tried = time.monotonic()
        self._news = asyncio.Event()
        self._waiting: set[asyncio.Event] = set()
        self.contact = Contact(False, time.time())

    async def first(self) -> State:
        """The state to start from, as soon as the store is there. Raises Unusable where waiting does not help."""
        pause = FIRST_PAUSE
        while True:
            try:
                state = await self._store.read()
            except Unusable:
                raise
            except Unavailable as error:
                self._gone(error, "the start waits for it")
                await asyncio.sleep(random.uniform(0.5, 1.0) * pause)  # noqa: S311
                pause = min(2 * pause, MOST_PAUSE)
            else:
                self._up(state.revision)
                return state

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        for task in (self._task, self._catching):
            if task:
                task.cancel()
                await asyncio.wait([task])

    async def machines(self) -> list[Machine]:
        return await self._store.machines()

    async def everywhere(self, revision: int, limit: float, model: str = "") -> None:
        """Returns when every live gateway has the revision in force in all of its workers.

        Raises DeadlineExceeded after `limit` seconds, naming those that have not; Unavailable where a gateway has it,
        and cannot serve `model` as it is desired, naming why.
        """
        end = time.monotonic() + limit
        heard = asyncio.Event()
        self._waiting.add(heard)
        self._hear()
        try:
            while True:
                heard.clear()
                late = await self._late(revision, model)
                left = end - time.monotonic()
                if not late:
                    return
                if left <= 0:
                    raise DeadlineExceeded(
                        f"revision {revision} is written and in force here; within {limit:g} s not everywhere: {late}"
                    )
                try:
                    async with asyncio.timeout(min(left, POLL)):
                        await heard.wait()
                except TimeoutError:
                    continue
        finally:
            self._waiting.discard(heard)

    async def _late(self, revision: int, model: str) -> str:
        """Who is missing, in words; "" for nobody."""
        try:
            # while the store was gone nobody could say anything: for a while after, all who were there may be
            all_may = time.time() - self.contact.since < LIVE_FOR
            machines = [machine for machine in await self._store.machines() if machine.live or all_may]
        except Unavailable as error:
            return error.message
        late = [machine for machine in machines if machine.revision < revision]
        if late:
            return "; ".join(f"{m.name} is at {m.revision}, last heard of {m.silence:.1f} s ago" for m in late)
        if trouble := [f"{m.name}: {m.troubles[model]}" for m in machines if model in m.troubles]:
            raise Unavailable(f"revision {revision} is in force everywhere, but {'; '.join(trouble)}")
        return ""

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._store.channel(self._hear) as channel:
                    pause = FIRST_PAUSE
                    await self._converse(channel)
            except SluiceError as error:
                self._gone(error, f"revision {self._plane.state.revision} is served on, nothing can be changed")
            except Exception:
                logger.exception("the talk with the other gateways broke off")
            await asyncio.sleep(random.uniform(0.5, 1.0) * pause)  # noqa: S311
            pause = min(2 * pause, MOST_PAUSE)

    async def _converse(self, channel: Channel) -> None:
        try:
            while True:
                self._news.clear()
                troubles = self._plane.troubles()
                newest = await channel.tell(self._plane.in_force, troubles)
                self._up(newest)
                again = bool(troubles) and time.monotonic() > self._tried + AGAIN
                if (again or newest != self._plane.state.revision) and (not self._catching or self._catching.done()):
                    # loading may take minutes, in which this gateway goes on saying that it lives
                    self._catching = asyncio.create_task(self._catch_up(again))
                try:
                    async with asyncio.timeout(POLL):
                        await self._news.wait()
                except TimeoutError:
                    continue
        except asyncio.CancelledError:
            # SIGTERM: not as after a crash, when others wait until this gateway counts as dead
            with suppress(SluiceError, TimeoutError):
                async with asyncio.timeout(LEAVE_LIMIT):
                    await channel.leave()
            raise

    async def _catch_up(self, again: bool) -> None:
        before = self._plane.state.revision
        try:
            await self._plane.catch_up(again=again)
        except SluiceError as error:
            logger.warning("revision %d cannot be followed yet: %s", self.contact.revision, error.message)
            return
        if self._plane.state.revision != before:
            logger.info("revision %d: followed, from %d", self._plane.state.revision, before)
        self._tried = time.monotonic()
        self._news.set()

    def _hear(self) -> None:
        self._news.set()
        for event in self._waiting:
            event.set()

    def _up(self, revision: int) -> None:
        if not self.contact.up:
            if self._task:
                logger.info("the store is back, at revision %d", revision)
            self.contact = Contact(True, time.time(), revision)
        elif revision != self.contact.revision:
            if revision < self.contact.revision:
                logger.warning(
                    "the store went back from revision %d to %d, as after a restore from a backup: it is followed",
                    self.contact.revision, revision,
                )  # fmt: skip
            self.contact = Contact(True, self.contact.since, revision)

    def _gone(self, error: SluiceError, meanwhile: str) -> None:
        """Once in the log for each reason: it is tried every few seconds."""
        if self.contact.up or not self.contact.reason:
            logger.error("%s; %s", error.message, meanwhile)
        elif error.message != self.contact.reason:
            logger.warning("still gone: %s", error.message)
        since = time.time() if self.contact.up else self.contact.since
        self.contact = Contact(False, since, self.contact.revision, error.message)
