"""One worker's process, as the supervisor sees it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from gateway.control.channel import Channel
from gateway.control.report import Report
from gateway.control.spawn import Role, death
from gateway.core.errors import SluiceError

logger = logging.getLogger("sluice.control")

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

State = Literal["spare", "starting", "ready", "draining", "ended"]


class Member:
    """`ended` is set when it is dead, by whatever cause; `cause` says why in words. A spare one has no
    slot until it is needed. Equal to itself alone.
    """

    def __init__(self, role: Role, slot: int | None, process: asyncio.subprocess.Process) -> None:
        self.role: Role = role
        self.slot = slot
        self.process = process
        self.state: State = "starting"
        self.revision = 0
        self.report: Report | None = None
        #: it told of itself at least once
        self.spoke = False
        #: model → why it is not served as it is desired
        self.troubles: Mapping[str, str] = {}
        self.started = time.monotonic()
        #: when it began to answer requests; 0: it does not yet
        self.serving = 0.0
        self.cause = ""
        #: it was asked to end
        self.dismissed = False
        self.ended = asyncio.Event()
        self.channel: Channel
        self._watching: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def served(self) -> float:
        """Seconds."""
        return time.monotonic() - self.serving if self.serving else 0.0

    def watch(self, then: Callable[[Member], None]) -> None:
        """`then` is called when it is dead, before anybody else learns of it."""
        self._watching = asyncio.create_task(self._watch(then))

    async def _watch(self, then: Callable[[Member], None]) -> None:
        code = await self.process.wait()
        # what it said last may still be in the socket
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self.channel.closed.wait()
        await self.channel.close()
        self.cause = self.cause or death(code)
        self.state = "ended"
        then(self)
        self.ended.set()

    def kill(self, cause: str) -> None:
        """At once. Does nothing to one that is dead."""
        if self.process.returncode is None:
            self.cause = self.cause or cause
            with suppress(ProcessLookupError):
                self.process.kill()

    async def dismiss(self, how: str, patience: float) -> None:
        """Asks it to end, and kills it where that takes longer. Returns when it is dead."""
        self.dismissed = True
        try:
            async with asyncio.timeout(patience):
                with suppress(SluiceError):
                    await self.call(how)
                await self.ended.wait()
        except TimeoutError:
            self.kill("did not end in time")
            await self.ended.wait()

    async def call(self, what: str, body: Any = None) -> Any:
        return await self.channel.call(what, body)

    def view(self) -> dict[str, Any]:
        """For operators: times in seconds, memory in bytes."""
        view = {
            "slot": self.slot,
            "role": self.role,
            "pid": self.pid,
            "state": self.state,
            "uptime": round(time.monotonic() - self.started, 3),
            "memory": _resident(self.pid),
        }
        if self.role == "stream":
            return {**view, "streams": self.report.streams if self.report else []}
        return {**view, "revision": self.revision, "requests": self.report.requests if self.report else 0}


def _resident(pid: int) -> int:
    """Bytes; 0 for a process that is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
