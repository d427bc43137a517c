"""The streams of several processes, of which each has all of them or a part, as the streams of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gateway.control.channel import Gone
from gateway.control.member import Member
from gateway.core.errors import NotFound, Unavailable


class JoinedStreams:
    """What is asked of a stream is asked of whoever runs it, among `members` at that time.

    All but `samples` raise Unavailable where there are no members.
    """

    def __init__(self, members: Callable[[], Sequence[Member]]) -> None:
        self._members: Final = members

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
            if isinstance(answer, NotFound) or not isinstance(answer, BaseException):
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
