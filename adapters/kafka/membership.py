"""This member of a consumer group: the partitions that are its own, how they come and how they go."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaTimeoutError

from adapters.kafka.cluster import connection
from adapters.kafka.commits import Commits
from adapters.kafka.cut import cut
from adapters.kafka.failure import FAILURES, NoTopicError, failure
from adapters.kafka.fetched import Fetched
from adapters.kafka.frame import receive_in_place
from adapters.kafka.lane import Lane
from adapters.kafka.output import KafkaOutput
from adapters.kafka.position import lane_of, offset_of
from adapters.kafka.quiet import quiet
from adapters.kafka.recordset import read_by_record_sets
from adapters.kafka.settings import KafkaSource
from gateway.core.stream import PositionStore

log = logging.getLogger("sluice.streams.kafka")

_ASSIGNORS = {
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    "sticky": StickyPartitionAssignor,
}
#: partitions that are taken over at the same time
_AT_ONCE = 8


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Belongs to the event loop. `start` once, `stop` once, also after a `start` that failed."""

    def __init__(
        self,
        settings: KafkaSource,
        pipeline: str,
        group: str,
        positions: PositionStore | None,
        epochs: itertools.count[int],
    ) -> None:
        self._settings: Final = settings
        self._group: Final = group
        self._positions: Final = positions
        self._epochs: Final = epochs
        self._acked: Final = asyncio.Event()
        self.lanes: Final[dict[TopicPartition, Lane]] = {}
        self._gone: Final[set[str]] = set()
        #: since when, in monotonic time, records at an offset wait and do not come
        self._waiting: dict[TopicPartition, tuple[float, int]] = {}
        #: since when, in monotonic time, the group has not been shared out; None: it is, though perhaps not to this one
        self._outside: float | None = None
        rebalance: Final = max(settings.session_timeout, 2 * settings.revoke_timeout)
        self._patience: Final = settings.request_timeout + rebalance
        self.consumer: Final = AIOKafkaConsumer(
            **connection(settings, pipeline),
            group_id=group,
            group_instance_id=settings.group_instance_id or None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level=settings.isolation,
            max_partition_fetch_bytes=settings.fetch_bytes,
            fetch_max_bytes=settings.fetch_bytes_total,
            session_timeout_ms=round(settings.session_timeout * 1000),
            heartbeat_interval_ms=round(settings.session_timeout * 1000 / 5),
            rebalance_timeout_ms=round(rebalance * 1000),
            max_poll_interval_ms=round(settings.poll_timeout * 1000),
            partition_assignment_strategy=(_ASSIGNORS[settings.assignment],),
        )
        self.commits: Final = Commits(self.consumer, settings.commit_interval, vital=positions is None)
        self.fetched: Fetched | None = None

    async def start(self) -> None:
        """Raises what aiokafka does, and NoTopicError."""
        quiet()
        receive_in_place()
        read_by_record_sets()
        async with asyncio.timeout(self._settings.request_timeout):
            await self.consumer.start()
            there = await self.consumer.topics()
        for topic in self._settings.topics:
            if topic not in there:
                raise NoTopicError(topic)
        self.commits.start()
        self.fetched = Fetched(self.consumer)
        self._outside = time.monotonic()
        self.consumer.subscribe(self._settings.topics, listener=self)

    async def look_after(self) -> None:
        """When nothing has come for a while. Raises NoTopicError for a topic that is not there any more, and what
        aiokafka does where no broker answers, the group is not shared out, or its consumer has stopped to fetch."""
        for topic in self._settings.topics:
            if not self.consumer.partitions_for_topic(topic):
                raise NoTopicError(topic)
        if self._outside is not None and time.monotonic() - self._outside > self._patience:
            raise KafkaTimeoutError(
                f"group {self._group} was not shared out for {self._patience:g} s: the brokers have no coordinator"
                " for it, or another member holds it up"
            )
        lanes = [lane for lane in self.lanes.values() if lane.epoch]
        async with asyncio.timeout(self._settings.request_timeout):
            ends = await self.consumer.end_offsets([lane.tp for lane in lanes])
        now = time.monotonic()
        waiting = {lane.tp: lane.next for lane in lanes if lane.next < ends[lane.tp]}
        self._waiting = {tp: self._waiting.get(tp, (now, at)) for tp, at in waiting.items()}
        for tp, (since, at) in self._waiting.items():
            if at != waiting[tp]:
                self._waiting[tp] = now, waiting[tp]
            elif now - since > self._settings.request_timeout:
                raise KafkaTimeoutError(f"records of {lane_of(tp.topic, tp.partition)} from {at} on are not fetched")

    # ---- partitions come

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Nothing is read of them until `open` knows from where: it may take long, and no heartbeat is sent here."""
        self._outside = None
        log.info("group %s: this member has %s", self._group, ", ".join(_names(assigned)) or "no partition")
        self.consumer.pause(*assigned)
        for tp in sorted(assigned):
            self.lanes[tp] = Lane(tp, self._group)
        if self.fetched is not None:
            self.fetched.wake()

    async def open(self) -> None:
        """Takes over the partitions that are closed. Cancelled half-way, it is done again."""
        await self._release()
        closed = [lane for lane in self.lanes.values() if not lane.epoch]
        if not closed:
            return
        async with asyncio.timeout(self._settings.request_timeout):
            taken = await self._take_over(closed)
            offsets = await self._offsets(closed, [stored for _, stored in taken])
        for lane, (epoch, _), (offset, end) in zip(closed, taken, offsets, strict=True):
            if self.lanes.get(lane.tp) is lane:  # else it went to another member meanwhile
                self.consumer.seek(lane.tp, offset)
                self.consumer.resume(lane.tp)
                lane.open(epoch, offset, end, len(self.consumer.partitions_for_topic(lane.tp.topic) or ()))

    async def _take_over(self, lanes: list[Lane]) -> list[tuple[int, Any]]:
        """The epoch and the stored position of each. Fences the old owners."""
        positions = self._positions
        if positions is None:
            return [(next(self._epochs), None) for _ in lanes]
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(lane: Lane) -> tuple[int, Any]:
            async with gate:
                return await positions.take_over(lane.name)

        found = await asyncio.gather(*(one(lane) for lane in lanes), return_exceptions=True)
        for outcome in found:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in found if not isinstance(outcome, BaseException)]

    async def _release(self) -> None:
        """The transactional producers of partitions that went to other members are of no use any more."""
        if not self._gone or not isinstance(self._positions, KafkaOutput):
            return
        for name in self._gone - {lane.name for lane in self.lanes.values()}:
            await self._positions.release(name)
        self._gone.clear()

    async def _offsets(self, lanes: list[Lane], stored: list[Any]) -> list[tuple[int, int]]:
        """Where to begin, and where the partition ends. The old owners are fenced: what is committed stays so."""
        tps = [lane.tp for lane in lanes]
        asked = [lane.tp for lane, position in zip(lanes, stored, strict=True) if position is None]
        coordinator: Any = self.consumer._coordinator  # `committed` asks for one partition at a time
        committed = await coordinator.fetch_committed_offsets(asked)
        first = await self.consumer.beginning_offsets(tps)
        last = await self.consumer.end_offsets(tps)
        offsets = []
        for lane, position in zip(lanes, stored, strict=True):
            offset = committed[lane.tp].offset if lane.tp in committed else None
            offset = offset if position is None else offset_of(position)
            end = last[lane.tp]
            offsets.append((self._valid(lane, offset, first[lane.tp], end), end))
        return offsets

    def _valid(self, lane: Lane, offset: int | None, first: int, last: int) -> int:
        """An offset behind the end is believed until the broker refuses it: a new leader may not know its end yet."""
        if offset is not None and first <= offset and (offset <= last or not lane.refused):
            return offset
        begin = first if self._settings.start == "earliest" else last
        if offset is not None:
            log.warning(
                "partition %s: offset %d is not in it, which has %d to %d; going on at %d",
                lane.name, offset, first, last, begin,
            )  # fmt: skip
        return begin

    def ended(self) -> bool:
        """Whether all was handed out that was there when the partitions came."""
        return bool(self.lanes) and all(lane.epoch and lane.next >= lane.end for lane in self.lanes.values())

    # ---- partitions go

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """The group is shared out anew: what is in flight may end, then every partition is given back."""
        self._outside = time.monotonic()
        for lane in self.lanes.values():
            lane.drop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.revoke_timeout):
                while any(lane.busy for lane in self.lanes.values()):
                    self._acked.clear()
                    await self._acked.wait()
        await self._settle()
        self.commits.clear()
        for lane in self.lanes.values():
            lane.close()
            self._gone.add(lane.name)
        self.lanes.clear()

    def acked(self, lane: Lane, *, commit: bool) -> None:
        self._acked.set()
        if commit:
            self.commits.note(lane.tp, lane.acked)

    async def _settle(self) -> None:
        """Commits what is acknowledged, if it can be done soon."""
        try:
            async with asyncio.timeout(self._settings.revoke_timeout):
                await self.commits.flush()
        except (CommitFailedError, IllegalStateError):
            log.info("the group was shared out before the last offsets were committed: what they cover comes again")
        except FAILURES as error:
            log.warning("the last offsets are not committed, what they cover comes again: %s", error)

    async def begin_again(self) -> None:
        """All partitions are to be opened anew, from what is acknowledged. Raises what aiokafka does."""
        async with asyncio.timeout(self._settings.request_timeout):
            with contextlib.suppress(CommitFailedError, IllegalStateError):
                await self.commits.flush()
        for lane in self.lanes.values():
            self.shut(lane)

    def shut(self, lane: Lane) -> None:
        """Until `open` has found out anew where to go on."""
        lane.close()
        with contextlib.suppress(IllegalStateError):
            self.consumer.pause(lane.tp)

    async def stop(self) -> None:
        """Leaves the group. Brokers that do not answer are not waited for: their connections are cut."""
        for lane in self.lanes.values():
            lane.close()
        await self.commits.stop()
        if self.fetched is not None:
            await self._settle()
        task = asyncio.create_task(self.consumer.stop())
        await asyncio.wait([task], timeout=self._settings.revoke_timeout)
        if not task.done():
            await self._cut(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("%s", failure(error, "leaving the group").message)

    async def _cut(self, stopping: asyncio.Task[None]) -> None:
        coordinator: Any = self.consumer._coordinator
        fetcher: Any = self.consumer._fetcher
        tasks = [stopping]
        if coordinator is not None:
            tasks += [coordinator._coordination_task, coordinator._heartbeat_task, coordinator._commit_refresh_task]
        if fetcher is not None:
            tasks += [fetcher._fetch_task, *fetcher._pending_tasks]
        await cut(self.consumer._client, tasks)


def _names(partitions: set[TopicPartition]) -> list[str]:
    return [lane_of(tp.topic, tp.partition) for tp in sorted(partitions)]
