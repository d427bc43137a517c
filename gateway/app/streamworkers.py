"""The stream workers of a gateway: processes of their own, so that a batch never stalls a request."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from gateway.control.channel import Channel, Gone
from gateway.control.member import Member
from gateway.control.report import Tally
from gateway.control.reports import Reports
from gateway.control.silence import watch
from gateway.control.slot import Slot, birth, restarts
from gateway.control.spawn import spawn
from gateway.core.errors import NotFound, SluiceError, Unavailable
from gateway.settings import Settings, SettingsError
from gateway.telemetry.metrics.fleet import Figures, stream_workers_page

logger = logging.getLogger("sluice.streams")

#: seconds beyond the longest drain of a stream that a worker has to end in
LAST_WORDS: Final = 40.0


class StreamWorkers:
    """`settings.stream_workers` processes, each with every stream: those that only one may read are run by one of them.

    To an admin port it is the streams: what is asked of one is asked of who runs it.
    """

    def __init__(self, settings: Settings, tally: Tally) -> None:
        """`tally` hears what each of them counts."""
        self._settings = settings
        self.reports: Final = Reports(tally, "stream", self._members)
        self._slots: list[Slot] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._everybody: set[Member] = set()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when all of them run. Raises SettingsError where one says that it cannot start."""
        self._slots = [Slot("stream", n, self._launch, self._retire) for n in range(self._settings.stream_workers)]
        self._tasks = [asyncio.create_task(slot.run()) for slot in self._slots]
        self._watching = asyncio.create_task(watch(self._everybody, self._slots, self._settings.worker_timeout))
        try:
            await asyncio.gather(*(slot.first for slot in self._slots))
        except Unavailable as error:
            raise SettingsError(error.message) from error

    async def close(self) -> None:
        """What is in flight is finished."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # one that hangs is not waited for as long as one that drains
        await asyncio.gather(*(self._retire(member) for member in list(self._everybody)))
        if self._watching is not None:
            self._watching.cancel()

    def kill(self) -> None:
        """All of them, at once."""
        for member in list(self._everybody):
            member.kill("not needed any more")

    def detail(self) -> dict[str, Any]:
        """What readiness says of them beside it."""
        return {"troubles": troubles} if (troubles := self.troubles()) else {}

    def troubles(self) -> list[str]:
        return [f"{slot.name}: {slot.trouble}" for slot in self._slots if slot.trouble]

    def figures(self) -> Figures:
        states = dict.fromkeys(("starting", "ready", "draining", "down"), 0)
        for member in self._everybody:
            states[member.state] += 1
        slots = {member.slot for member in self._everybody if not member.dismissed}
        states["down"] = sum(slot.number not in slots for slot in self._slots)
        return Figures(states, restarts(self._slots), {}, {})

    async def _launch(self, slot: Slot) -> Member:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await spawn("stream", slot.number, theirs, ())
        member = Member("stream", slot.number, process)
        member.channel = Channel(slot.name, {"report": partial(self._heard, member)})
        self._everybody.add(member)
        await member.channel.start(ours)
        member.watch(self._forget)
        async with birth(member):
            await member.call("start", {"settings": self._settings})
        member.state, member.serving = "ready", time.monotonic()
        logger.info("stream worker %d (process %d) runs", member.slot, member.pid)
        return member

    async def _heard(self, member: Member, body: Any) -> None:
        self.reports.heard(member, body)

    def _forget(self, member: Member) -> None:
        self._everybody.discard(member)
        self.reports.tally.ended(member)

    def _members(self) -> list[Member]:
        return [slot.current for slot in self._slots if slot.current is not None]

    async def _retire(self, member: Member) -> None:
        member.state = "draining"
        await member.dismiss("stop", LAST_WORDS + self._settings.drain_timeout)

    # ---- what an admin port asks

    async def list(self) -> Sequence[Mapping[str, Any]]:
        found: dict[str, list[Mapping[str, Any]]] = {}
        for answer in (await self._all("list")).values():
            for view in answer:
                found.setdefault(view["name"], []).append(view)
        return [_merged(views) for views in found.values()]

    async def show(self, name: str) -> Mapping[str, Any]:
        return _merged([*(await self._all("show", {"name": name})).values()])

    async def pause(self, name: str, reason: str) -> None:
        await self._all("pause", {"name": name, "reason": reason})

    async def resume(self, name: str) -> None:
        await self._all("resume", {"name": name})

    async def redrive(self, name: str, limit: int | None) -> Mapping[str, Any]:
        views = await self._all("show", {"name": name})
        chosen = next((member for member, view in views.items() if view["here"]), next(iter(views)))
        answer: Mapping[str, Any] = await chosen.call("redrive", {"name": name, "limit": limit})
        return answer

    async def reload(self) -> Mapping[str, Sequence[str]]:
        answer: Mapping[str, Sequence[str]] = next(iter((await self._all("reload")).values()))
        return answer

    async def samples(self) -> Sequence[Mapping[str, Any]]:
        """For `pipeline.metrics`: those of each worker, which is named."""
        try:
            answers = await self._all("samples")
        except Unavailable:
            return []
        return [{**sample, "worker": str(member.slot)} for member, each in answers.items() for sample in each]

    async def _all(self, what: str, body: Any = None) -> dict[Member, Any]:
        """Raises what each of them raised, Unavailable where there is none."""
        members = self._members()
        answers = await asyncio.gather(*(member.call(what, body) for member in members), return_exceptions=True)
        found: dict[Member, Any] = {}
        for member, answer in zip(members, answers, strict=True):
            if isinstance(answer, NotFound) or not isinstance(answer, (SluiceError, BaseException)):
                found[member] = answer
            elif not isinstance(answer, Gone):
                raise answer
        for answer in found.values():
            if isinstance(answer, NotFound):
                raise answer
        if not found:
            raise Unavailable("no stream worker is up, try again", retry_after=1.0)
        return found


def _merged(views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """One stream, of which each worker has a part, or one has it and the others stand by."""
    running = [view for view in views if view["here"]] or list(views)
    first = dict(running[0])
    if len(running) == 1:
        return first
    for section in ("records", "in_flight", "lag"):
        first[section] = {name: _sum(view[section][name] for view in running) for name in first[section]}
    for section in ("in_flight", "lag"):
        for name in ("oldest", "seconds"):
            if name in first[section]:
                first[section][name] = _most(view[section][name] for view in running)
    first["last_progress"] = min((v["last_progress"] for v in running if v["last_progress"] is not None), default=None)
    for name in ("retries", "reconnects"):
        first[name] = sum(view[name] for view in running)
    first["lanes"] = {lane: lag for view in running for lane, lag in view["lanes"].items()}
    return first


def _sum(values: Any) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _most(values: Any) -> Any:
    return max((value for value in values if value is not None), default=None)


def with_streams(
    render: Callable[[], Awaitable[bytes]], streams: StreamWorkers | None
) -> Callable[[], Awaitable[bytes]]:
    """The page of metrics, with those of the streams."""
    if streams is None:
        return render

    async def both() -> bytes:
        from gateway.pipeline.hosting.metrics import write

        page = stream_workers_page(streams.figures())
        write(page, await streams.samples())
        return await render() + page.render()

    return both
