"""The stream workers of a gateway: processes of their own, so that a batch never stalls a request."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from gateway.app.joinedstreams import JoinedStreams
from gateway.control.channel import Handler
from gateway.control.crew import Crew
from gateway.control.member import Member
from gateway.control.report import Tally
from gateway.control.reports import Reports
from gateway.control.slot import Slot, birth
from gateway.core.errors import Unavailable
from gateway.settings import Settings, SettingsError
from gateway.telemetry.metrics.fleet import stream_workers_page

logger = logging.getLogger("sluice.streams")

#: seconds beyond the longest drain of a stream that a worker has to end in
LAST_WORDS: Final = 40.0


class StreamWorkers:
    """`settings.stream_workers` processes, each with every stream: those that only one may read are run by one of them.

    streams  what runs in them
    """

    def __init__(self, settings: Settings, tally: Tally) -> None:
        """`tally` hears what each of them counts."""
        self._settings = settings
        self.crew: Final = Crew("stream", settings.worker_timeout, tally.ended)
        self.reports: Final = Reports(tally, "stream", self.crew.current)
        self.streams: Final = JoinedStreams(self.crew.current)

    async def start(self) -> None:
        """Returns when all of them run. Raises SettingsError where one says that it cannot start."""
        numbers = range(self._settings.stream_workers)
        try:
            await self.crew.start([Slot("stream", number, self._launch, self._retire) for number in numbers])
        except Unavailable as error:
            raise SettingsError(error.message) from error

    async def close(self) -> None:
        """What is in flight is finished."""
        await self.crew.close(self._retire)

    async def views(self) -> list[dict[str, Any]]:
        """Every process, and the slots that have none."""
        await self.reports.collect()
        return self.crew.views()

    def detail(self) -> dict[str, Any]:
        """What readiness says of them beside it."""
        return {"troubles": troubles} if (troubles := self.crew.troubles()) else {}

    async def _launch(self, slot: Slot) -> Member:
        member = await self.crew.hire(slot.number, slot.name, self._called_by)
        async with birth(member):
            await member.call("start", {"settings": self._settings})
        member.state, member.serving = "ready", time.monotonic()
        logger.info("stream worker %d (process %d) runs", member.slot, member.pid)
        return member

    def _called_by(self, member: Member) -> dict[str, Handler]:
        async def report(body: Any) -> None:
            self.reports.heard(member, body)

        return {"report": report}

    async def _retire(self, member: Member) -> None:
        member.state = "draining"
        await member.dismiss("stop", LAST_WORDS + self._settings.drain_timeout)


def with_streams(
    render: Callable[[], Awaitable[bytes]], streams: StreamWorkers | None
) -> Callable[[], Awaitable[bytes]]:
    """The page of metrics, with those of the streams."""
    if streams is None:
        return render

    async def both() -> bytes:
        from gateway.pipeline.hosting.metrics import write

        page = stream_workers_page(streams.crew.figures())
        write(page, await streams.streams.samples())
        return await render() + page.render()

    return both
