"""Results and the offset of what they answer, in one transaction: one producer for each partition that is read.

aiokafka sends no metadata of the group with the offsets, so that brokers cannot see from them that another member has
the partition now. What fences is the producer: its transactional id belongs to the partition, and whoever takes the
partition over begins with InitProducerId, which ends the old owner's transaction and refuses its next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced

from adapters.kafka.cut import look_at
from adapters.kafka.failure import FAILURES, failure
from adapters.kafka.position import Position
from adapters.kafka.producer import Producer
from gateway.core.crashpoint import crash
from gateway.core.errors import SluiceError
from gateway.core.stream import DataError, Fenced, OutcomeUnknown

#: Seconds that brokers take to mark the end of a transaction, after they have said that it is committed. What comes
#: earlier they keep for 20 ms (add.partitions.to.txn.retry.backoff.ms).
_MARKS: Final = 0.003


class Transaction:
    """Of one lane, in one epoch; writes come one after the other. After a failure but a DataError it is over."""

    def __init__(self, lane: str, epoch: int, producer: Producer, limit: float) -> None:
        self.epoch: Final = epoch
        self._lane: Final = lane
        self._producer: Final = producer
        self._limit: Final = limit
        self._one: Final = asyncio.Lock()
        self._over: str = ""
        #: `loop.time()` when brokers have probably marked the end of the last one
        self._settled = 0.0

    async def write(self, position: Position, send: Callable[[Producer], Awaitable[None]]) -> None:
        """Raises Transient, Fenced, OutcomeUnknown, DataError."""
        async with self._one:
            if self._over:
                raise Fenced(f"partition {self._lane} has to be taken over again: {self._over}")
            what = f"a transaction for partition {self._lane}"
            try:
                async with asyncio.timeout(self._limit):
                    await self._fill(position, send)
            except DataError:
                await self._abort(what)
                raise
            except (*FAILURES, AssertionError, SluiceError, asyncio.CancelledError) as error:
                # aiokafka asserts that its producer is not in a state that a failure before left it in
                await self._end(str(error) or type(error).__name__)
                if isinstance(error, asyncio.CancelledError):
                    raise
                raise failure(error, what) from error
            await self._commit(what)

    async def _fill(self, position: Position, send: Callable[[Producer], Awaitable[None]]) -> None:
        kafka = self._producer.kafka
        if (early := self._settled - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(early)
        await kafka.begin_transaction()
        offsets = {TopicPartition(position.topic, position.partition): position.offset}
        if self._producer.implicit:
            # At the same time, the one would often have the broker refuse the other, for a moment.
            await send(self._producer)
            await kafka.send_offsets_to_transaction(offsets, position.group)
            return
        added = asyncio.ensure_future(kafka.send_offsets_to_transaction(offsets, position.group))
        added.add_done_callback(look_at)
        try:
            await send(self._producer)
        except DataError:
            await added  # what was begun has to be at its end before the transaction is
            raise
        except BaseException:
            added.cancel()
            raise
        await added

    async def _commit(self, what: str) -> None:
        if crash is not None:
            crash.reach("before-commit")
        try:
            async with asyncio.timeout(self._limit):
                await self._producer.kafka.commit_transaction()
        except ProducerFenced as error:
            await self._end(str(error))
            raise Fenced(f"{what}: another member has taken over") from error
        except (*FAILURES, AssertionError, asyncio.CancelledError) as error:
            await self._end("it is not known whether its last transaction was committed")
            if isinstance(error, asyncio.CancelledError):
                raise
            detail = str(error) or "no answer in time"
            raise OutcomeUnknown(f"{what}: it is not known whether it was committed: {detail}") from error
        self._settle()

    async def _abort(self, what: str) -> None:
        try:
            async with asyncio.timeout(self._limit):
                await self._producer.kafka.abort_transaction()
        except (*FAILURES, AssertionError, asyncio.CancelledError) as error:
            await self._end(str(error) or type(error).__name__)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise failure(error, f"taking back {what}") from error
        self._settle()

    def _settle(self) -> None:
        self._settled = asyncio.get_running_loop().time() + _MARKS

    async def _end(self, why: str) -> None:
        """The brokers take back what is open, at the latest when somebody takes the partition over."""
        if not self._over:
            self._over = why
            await self._producer.stop(soon=True)

    async def close(self) -> None:
        """What is being written ends first."""
        async with self._one:
            if not self._over:
                self._over = "it was closed"
                await self._producer.stop(soon=False)
