"""Topics as an input: a member of a consumer group, whose partitions are lanes."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from adapters.kafka.cluster import domain
from adapters.kafka.failure import FAILURES, failure, translated
from adapters.kafka.fetched import Chunk, Fetched
from adapters.kafka.lane import Lane
from adapters.kafka.membership import Membership
from adapters.kafka.output import KafkaOutput
from adapters.kafka.position import partition_of
from adapters.kafka.settings import KafkaSource
from gateway.core.errors import SluiceError
from gateway.core.stream import Batch, Context, Credit, Fenced, Lag, Source, Token, Transient

#: seconds; with nothing to read, how often the topics are looked after
_GLANCE = 5.0


class KafkaInput:
    """Belongs to the event loop. Partitions come and go as the group is shared out; each ownership has its epoch.

    until_end  there are no more records where the partitions ended when they were assigned
    """

    def __init__(self, settings: KafkaSource, context: Context, *, until_end: bool = False) -> None:
        self._until_end: Final = until_end
        self._settings: Final = settings
        self._context: Final = context
        self._group: Final = settings.group or context.pipeline
        #: an output of ours commits the offsets itself, in its transactions
        self._commit: Final = not isinstance(context.positions, KafkaOutput)
        self._epochs: Final = itertools.count(1)
        self._member: Membership | None = None
        self._turn = 0
        #: why the member has to be made anew
        self._broken: SluiceError | None = None

    @property
    def source(self) -> Source:
        return Source(
            f"Kafka topic {', '.join(self._settings.topics)}", domain(self._settings),
            stable_ids=True, positions=True, ordered=True, shared=True,
        )  # fmt: skip

    async def connect(self) -> None:
        if self._member is not None and self._broken is None and self._member.commits.error is None:
            with self._doing("committing the offsets of"):
                await self._member.begin_again()
            return
        await self.close()
        settings, context = self._settings, self._context
        with self._doing("connecting to"):
            self._member = Membership(settings, context.pipeline, self._group, context.positions, self._epochs)
            await self._member.start()
        self._broken = None

    async def close(self) -> None:
        member, self._member = self._member, None
        if member is not None:
            await member.stop()

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """What fails of Kafka inside has the member made anew; what fails of a position store, say, does not."""
        try:
            yield
        except FAILURES as error:
            self._broken = failure(error, f"{what} {self.source.name}")
            raise self._broken from error

    async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
        member = self._member
        if member is None or member.fetched is None:
            raise Transient(f"{self.source.name} is not connected")
        fetched = member.fetched
        fetched.active(True)
        try:
            with self._doing("reading"):
                while True:
                    if self._broken or member.commits.error:
                        raise self._broken or member.commits.error or AssertionError
                    await member.open()
                    found = self._take(member, fetched, credit)
                    if found is not None:
                        return found
                    if not self._refill(member, fetched):
                        if self._until_end and member.ended():
                            return None
                        fetched.check()
                        came = await fetched.wait(_GLANCE)
                        if not came:
                            await member.look_after()
        finally:
            fetched.active(False)

    def _take(self, member: Membership, fetched: Fetched, credit: Credit) -> tuple[Batch, Token] | None:
        """From the partitions in turn, a batch at a time."""
        lanes = list(member.lanes.values())
        for step in range(len(lanes)):
            at = (self._turn + step) % len(lanes)
            found = lanes[at].take(credit, fetched)
            if found is not None:
                self._turn = at + 1
                return found
        return None

    def _refill(self, member: Membership, fetched: Fetched) -> bool:
        """Whether there is something to take now."""
        wanted = {tp: lane for tp, lane in member.lanes.items() if lane.epoch and not lane.chunks}
        some = False
        for found in fetched.chunks(wanted):
            if isinstance(found, Chunk):
                wanted[found.tp].chunks.append(found)
                some = True
            else:
                self._trouble(member, *found)
        return some

    def _trouble(self, member: Membership, tp: TopicPartition, error: Exception) -> None:
        if not isinstance(error, OffsetOutOfRangeError):
            raise error
        # Deleted by the topic's retention, or the topic is another: where to go on is found out anew.
        member.lanes[tp].refused = True
        member.shut(member.lanes[tp])

    async def ack(self, token: Token) -> None:
        member = self._member
        lane = self._lane(token)
        if member is None or lane is None:
            raise Fenced(f"partition {token.lane} is not this member's any more")
        lane.ack(token)
        member.acked(lane, commit=self._commit)
        if lane.chunks and not lane.busy and member.fetched is not None:
            member.fetched.wake()
        if member.commits.error:
            raise member.commits.error

    def _lane(self, token: Token) -> Lane | None:
        return self._member.lanes.get(TopicPartition(*partition_of(token.lane))) if self._member else None

    async def lag(self) -> Mapping[str, Lag]:
        member = self._member
        lanes = [lane for lane in member.lanes.values() if lane.epoch] if member else []
        if member is None or not lanes:
            return {}
        with translated(f"asking for the end of {self.source.name}"):
            async with asyncio.timeout(self._settings.request_timeout):
                ends = await member.consumer.end_offsets([lane.tp for lane in lanes])
        now = time.time() * 1000
        return {lane.name: _lag(lane, ends[lane.tp], now) for lane in lanes}


def _lag(lane: Lane, end: int, now: float) -> Lag:
    """The oldest record that waits is no older than the last one that is done with."""
    records = max(0, end - lane.acked)
    if not records:
        return Lag(0, 0.0)
    return Lag(records, max(0.0, (now - lane.since) / 1000) if lane.since else None)
