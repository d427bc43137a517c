"""The workers of one role: their slots, and every process that lives, in a slot or on its way out of one."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from gateway.control.channel import Channel, Handler
from gateway.control.member import Member
from gateway.control.silence import watch
from gateway.control.slot import Slot, Stillborn, restarts
from gateway.control.spawn import Role, spawn
from gateway.telemetry.metrics.fleet import Figures


class Crew:
    """`members` are all that live. The slots are there from `start` on; who is silent for `timeout` seconds is killed.

    gone   called with each that has died, before anybody else learns of it
    """

    def __init__(self, role: Role, timeout: float, gone: Callable[[Member], None]) -> None:
        self.members: Final[set[Member]] = set()
        self.slots: Sequence[Slot] = ()
        self._role: Final[Role] = role
        self._timeout = timeout
        self._gone = gone
        self._running: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None

    async def start(self, slots: Sequence[Slot]) -> None:
        """Returns when every slot has a worker that answers. Raises Unavailable where one says that it cannot start;
        one that crashes is tried again."""
        self.slots = slots
        self._running = [asyncio.create_task(slot.run()) for slot in slots]
        self._watching = asyncio.create_task(watch(self.members, slots, self._timeout))
        await asyncio.gather(*(slot.first for slot in slots))

    async def close(self, end: Callable[[Member], Awaitable[None]]) -> None:
        """Nobody is replaced any more, and whoever still lives is asked to end. One that hangs meanwhile is not waited
        for as long as one that drains."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*(end(member) for member in list(self.members)))
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def hire(
        self,
        slot: int | None,
        name: str,
        handlers: Callable[[Member], Mapping[str, Handler]],
        listening: Sequence[Sequence[socket.socket]] = (),
        memory: Sequence[int] = (),
    ) -> Member:
        """A new process, which inherits what `spawn` says and may call `handlers`. Raises Stillborn."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await spawn(self._role, slot, theirs, listening, memory)
            except OSError as error:
                ours.close()
                raise Stillborn(f"no process could be started: {error.strerror}") from error
        member = Member(self._role, slot, process)
        member.channel = Channel(name, handlers(member))
        self.members.add(member)
        await member.channel.start(ours)
        member.watch(self._forget)
        return member

    def _forget(self, member: Member) -> None:
        self.members.discard(member)
        self._gone(member)

    def kill(self) -> None:
        """All of them, at once."""
        for member in list(self.members):
            member.kill("not needed any more")

    def current(self) -> list[Member]:
        """Those that are in a slot and answer."""
        return [slot.current for slot in self.slots if slot.current is not None]

    def views(self) -> list[dict[str, Any]]:
        """Every process, and the slots that have none; what has no slot comes last."""
        replaced = {slot.number: sum(slot.restarts.values()) for slot in self.slots}
        views = [member.view() for member in self.members]
        taken = {view["slot"] for view in views}
        views += [
            {"slot": slot.number, "role": slot.role, "state": "down", "reason": slot.trouble}
            for slot in self.slots
            if slot.number not in taken
        ]
        for view in views:
            if view["slot"] is not None:
                view["restarts"] = replaced.get(view["slot"], 0)
        return sorted(views, key=_order)

    def figures(self) -> Figures:
        states = Counter(view["state"] for view in self.views())
        rows = {slot.number: slot.crashes.row if slot.trouble else 0 for slot in self.slots}
        revisions = {slot.number: slot.current.revision for slot in self.slots if slot.current}
        return Figures(states, restarts(self.slots), rows, revisions)

    def troubles(self) -> list[str]:
        return [f"{slot.name}: {slot.trouble}" for slot in self.slots if slot.trouble]


def _order(view: dict[str, Any]) -> tuple[bool, int, float]:
    return view["slot"] is None, view["slot"] or 0, -view.get("uptime", 0.0)
