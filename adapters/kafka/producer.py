"""A producer of aiokafka, started and ended in bounded time, whose writes are durable when they return."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerClosed
from aiokafka.producer import sender

from adapters.kafka.cluster import connection, quiet
from adapters.kafka.failure import FAILURES, TOO_LARGE
from adapters.kafka.packing import Packed, packed
from adapters.kafka.settings import Cluster, Compression
from gateway.core.stream import Batch, DataError

#: aiokafka waits so long before it repeats a request. A transaction often has one to repeat (see cluster.quiet): with
#: the usual 100 ms, that would be what it takes.
_RETRY_MS: Final = 5
#: The same where a transaction begins while brokers still mark the end of the one before, for which they take a few ms.
#: A constant of aiokafka's, 20 ms.
sender.BACKOFF_OVERRIDE = 0.002


Split = Mapping[int, Sequence[int]]


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

    async def start(self) -> None:
        """Raises what aiokafka does. With a transactional id: fences its old owner, whose transaction is ended then."""
        async with asyncio.timeout(self._limit):
            await self.kafka.start()

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
        waiting: list[asyncio.Future[Any]] = []
        pieces = self.pack(batch, split, stamp=stamp)
        try:
            for partition, piece in pieces:
                waiting.append(await self.kafka.send_batch(piece.builder, topic, partition=partition))
        finally:
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        smaller: dict[int, list[int]] = {}
        for (partition, piece), outcome in zip(pieces, outcomes, strict=True):
            if isinstance(outcome, TOO_LARGE):
                if len(piece.rows) == 1:
                    raise DataError(f"topic '{topic}' refuses it as too large (max.message.bytes)", piece.rows[0])
                smaller.setdefault(partition, []).extend(piece.rows)
            elif isinstance(outcome, BaseException):
                raise outcome
        for partition, rows in smaller.items():
            middle = len(rows) // 2
            await self.send(batch, topic, {partition: rows[:middle]}, stamp=stamp)
            await self.send(batch, topic, {partition: rows[middle:]}, stamp=stamp)

    async def stop(self, *, soon: bool) -> None:
        """soon: what was not answered yet is given up; else it is waited for a moment."""
        kafka = self.kafka
        accumulator, manager = kafka._message_accumulator, kafka._txn_manager
        if soon:
            await kafka.client.close()
            accumulator.fail_all(ProducerClosed())
        task = asyncio.create_task(kafka.stop())
        await asyncio.wait([task], timeout=5.0)
        while not task.done():
            await kafka.client.close()
            accumulator.fail_all(ProducerClosed())
            await asyncio.wait([task], timeout=0.5)
        with contextlib.suppress(*FAILURES, asyncio.CancelledError):
            task.result()
        waiter = manager._transaction_waiter if manager is not None else None
        if waiter is not None and waiter.done() and not waiter.cancelled():
            waiter.exception()  # looked at, so that asyncio does not report it
