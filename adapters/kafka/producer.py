"""A producer of aiokafka, started and ended in bounded time, whose writes are durable when they return."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerClosed
from aiokafka.producer import sender

from adapters.kafka.cluster import connection
from adapters.kafka.cut import cut, look_at
from adapters.kafka.failure import BAD, FAILURES, failure
from adapters.kafka.packing import Packed, packed
from adapters.kafka.quiet import quiet
from adapters.kafka.sender import Sender
from adapters.kafka.settings import Cluster, Compression
from gateway.core.stream import Batch, DataError

#: aiokafka waits so long before it repeats a request. A transaction often has one to repeat (see cluster.quiet): with
#: the usual 100 ms, that would be what it takes.
_RETRY_MS: Final = 5
#: The same where a transaction begins while brokers still mark the end of the one before, for which they take a few ms.
#: A constant of aiokafka's, 20 ms.
sender.BACKOFF_OVERRIDE = 0.002
#: seconds that a flush may take at the end
_FLUSH: Final = 5.0


Split = Mapping[int, Sequence[int]]


class _Pending(set[Any]):
    """Batches that were sent and not answered, each of which takes itself out when it ends, once or twice."""

    remove = set.discard


class Producer:
    """Waits for all replicas in sync, and never writes a record twice within its life.

    transactional_id   "" for none
    batch_bytes        of one batch, before compression
    """

    def __init__(
        self,
        cluster: Cluster,
        client_id: str,
        *,
        batch_bytes: int,
        record_bytes: int,
        compression: Compression = "none",
        transactional_id: str = "",
        transaction_timeout: float = 60.0,
    ) -> None:
        quiet()
        self._limit: Final = cluster.request_timeout
        self._record_bytes: Final = record_bytes
        options: dict[str, Any] = {}
        if transactional_id:
            options = {
                "transactional_id": transactional_id,
                "transaction_timeout_ms": round(transaction_timeout * 1000),
                "retry_backoff_ms": _RETRY_MS,
            }
        self.kafka: Final = AIOKafkaProducer(
            **connection(cluster, client_id),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=min(batch_bytes, record_bytes),
            max_request_size=max(batch_bytes, record_bytes),
            compression_type=None if compression == "none" else compression,
            **options,
        )
        if transactional_id:
            Sender.install(self.kafka)

    async def start(self) -> None:
        """Raises what aiokafka does. With a transactional id: fences its old owner, whose transaction is ended then."""
        async with asyncio.timeout(self._limit):
            await self.kafka.start()
        # Where aiokafka puts what befell a producer, which it takes to be there, but makes with the first transaction.
        self.kafka._txn_manager._transaction_waiter = asyncio.get_running_loop().create_future()

    @property
    def implicit(self) -> bool:
        """Of a transactional one: what it writes to need not be announced."""
        return bool(self.kafka._txn_manager.implicit)

    async def partitions(self, topic: str) -> int:
        async with asyncio.timeout(self._limit):
            return len(await self.kafka.partitions_for(topic))

    def pack(self, batch: Batch, split: Split, *, stamp: bool) -> list[tuple[int, Packed]]:
        """Batches by partition. Raises DataError for a record that is too large."""
        pieces = [
            (partition, piece)
            for partition, rows in split.items()
            for piece in packed(self.kafka, batch, rows, stamp=stamp)
        ]
        for _, piece in pieces:
            if len(piece.rows) == 1 and piece.nbytes > self._record_bytes:
                row = piece.rows[0]
                raise DataError(
                    f"the result of {batch.ids[row]} has {piece.nbytes} bytes with key and headers, expected at most"
                    f" {self._record_bytes} (record_bytes)", row,
                )  # fmt: skip
        return pieces

    async def send(self, batch: Batch, topic: str, split: Split, *, stamp: bool) -> None:
        """Returns when all is durable, or in the transaction. `split` is partition → the indexes of its records.

        Raises DataError for a record that is too large, for the broker too: then, and with what aiokafka raises, some
        of the others may have been written.
        """
        found: dict[int, list[Packed]] = {}
        for partition, piece in self.pack(batch, split, stamp=stamp):
            found.setdefault(partition, []).append(piece)
        ways = [self._in_order(batch, TopicPartition(topic, one), found[one], stamp=stamp) for one in found]
        if len(ways) == 1:
            await ways[0]
            return
        for outcome in await asyncio.gather(*ways, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _in_order(self, batch: Batch, tp: TopicPartition, pieces: Sequence[Packed], *, stamp: bool) -> None:
        """Of one partition: a broker takes one batch of it at a time in any case. What is too large goes in halves."""
        for piece in pieces:
            done: asyncio.Future[Any] = await self.kafka.send_batch(piece.builder, tp.topic, partition=tp.partition)
            done.add_done_callback(partial(self._take_back, tp, len(piece.rows)))
            outcome: Any = (await asyncio.gather(done, return_exceptions=True))[0]
            if isinstance(outcome, asyncio.CancelledError):
                # Another lane gave up on this producer: that is its end, and not that of the task that waits here.
                raise ProducerClosed
            if isinstance(outcome, BAD):
                rows = piece.rows
                if len(rows) == 1:
                    message = failure(outcome, f"{batch.ids[rows[0]]} for topic '{tp.topic}'").message
                    raise DataError(message, rows[0]) from outcome
                middle = len(rows) // 2
                for half in (rows[:middle], rows[middle:]):
                    await self._in_order(batch, tp, packed(self.kafka, batch, half, stamp=stamp), stamp=stamp)
            elif isinstance(outcome, BaseException):
                raise outcome

    def _take_back(self, tp: TopicPartition, records: int, done: asyncio.Future[Any]) -> None:
        """A batch that the broker refused has no numbers in its sequence, though aiokafka has counted it."""
        if not done.cancelled() and isinstance(done.exception(), BAD):
            self.kafka._txn_manager.increment_sequence_number(tp, -records)

    async def stop(self, *, soon: bool) -> None:
        """soon: what was not answered yet is given up; else it is waited for a moment."""
        if soon:
            await self._give_up()
            return
        task = asyncio.create_task(self.kafka.stop())
        await asyncio.wait([task], timeout=_FLUSH)
        if not task.done():
            await self._give_up()
        with contextlib.suppress(*FAILURES, asyncio.CancelledError):
            await task

    async def _give_up(self) -> None:
        """What aiokafka's `stop` does, but for waiting until brokers that may never come back have taken it all."""
        kafka = self.kafka
        kafka._closed = True
        accumulator = kafka._message_accumulator
        # A request whose task is not the sender's any more puts its batches back to the queue later.
        accumulator._pending_batches = _Pending(accumulator._pending_batches)
        await cut(kafka.client, [kafka._sender.sender_task], kafka._sender)
        for batch in [*accumulator._pending_batches, *itertools.chain(*accumulator._batches.values())]:
            batch.future.cancel()
            look_at(batch._drain_waiter)
        look_at(kafka._txn_manager._transaction_waiter)
