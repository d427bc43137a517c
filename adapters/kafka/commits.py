"""Offsets on their way to the group: the newest of each partition, and not more often than needed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from adapters.kafka.failure import failure
from gateway.core.errors import SluiceError

log = logging.getLogger("sluice.streams.kafka")


class Commits:
    """A commit follows an acknowledgement at once, unless one was made less than `interval` seconds ago.

    vital  False: the position is stored elsewhere, offsets in Kafka only show the lag, and a failure is only logged
    """

    def __init__(self, consumer: AIOKafkaConsumer, interval: float, *, vital: bool) -> None:
        self._consumer: Final = consumer
        self._interval: Final = interval
        self._vital: Final = vital
        self._waiting: Final[dict[TopicPartition, int]] = {}
        self._some: Final = asyncio.Event()
        self._one: Final = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        #: why offsets could not be committed
        self.error: SluiceError | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="kafka commits")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def note(self, tp: TopicPartition, offset: int) -> None:
        self._waiting[tp] = offset
        self._some.set()

    def clear(self) -> None:
        """The partitions are another member's now."""
        self._waiting.clear()

    async def flush(self) -> None:
        """Commits what waits. Raises what aiokafka does; what was not committed waits on, unless it never can be."""
        async with self._one:
            waiting = dict(self._waiting)
            self._some.clear()
            if not waiting:
                return
            try:
                await self._consumer.commit(waiting)
            except (CommitFailedError, IllegalStateError):
                # The group is shared out anew: whoever has the partitions next goes on from the last commit.
                self._done(waiting)
                raise
            self._done(waiting)

    def _done(self, waiting: dict[TopicPartition, int]) -> None:
        for tp, offset in waiting.items():
            if self._waiting.get(tp) == offset:
                del self._waiting[tp]

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            began = time.monotonic()
            try:
                await self.flush()
                self.error = None
            except (CommitFailedError, IllegalStateError) as error:
                log.info("offsets are not committed, what they cover comes again: %s", error)
            except Exception as error:  # noqa: BLE001 - told by the next read; nobody else would notice
                self._fail(error)
            await asyncio.sleep(max(0.0, self._interval - (time.monotonic() - began)))

    def _fail(self, error: BaseException) -> None:
        if self._vital:
            self.error = failure(error, "committing offsets")
        else:
            log.warning("offsets are not committed, so that the group's lag is not shown: %s", error)
