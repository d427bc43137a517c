"""A topic as an output: in the transaction of the offsets where it may, else by a producer that repeats nothing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.kafka.cluster import domain
from adapters.kafka.failure import FAILURES, failure
from adapters.kafka.partitioner import Partitioner
from adapters.kafka.position import Position
from adapters.kafka.producer import Producer
from adapters.kafka.settings import KafkaSink
from adapters.kafka.transaction import Transaction
from gateway.core import letter
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Ability, Batch, Context, DeadLetter, Fenced, Rows, Sink, Transient


class KafkaOutput:
    """Belongs to the event loop. A PositionStore whose lanes, once taken over, are written in transactions."""

    def __init__(self, settings: KafkaSink, context: Context) -> None:
        if settings.dead_letters and not settings.transactions:
            raise InvalidArgument(
                "dead_letters: they are written in the transaction of the results: it needs transactions"
            )
        self._settings: Final = settings
        self._name: Final = context.pipeline
        self._prefix: Final = settings.transactional_id or context.pipeline
        self._epochs: Final = itertools.count(1)
        self._partitioner: Final = Partitioner()
        self._lanes: Final[dict[str, Transaction]] = {}
        self._taking: Final[dict[str, asyncio.Lock]] = {}
        #: lanes that are written in transactions, and never again without one
        self._bound: Final[set[str]] = set()
        self._plain: Producer | None = None

    @property
    def sink(self) -> Sink:
        abilities = {Ability.TRANSACTIONAL} if self._settings.transactions else {Ability.PLAIN}
        return Sink(
            f"Kafka topic {self._settings.topic}", frozenset(abilities), domain(self._settings),
            dead_letters=bool(self._settings.dead_letters),
        )  # fmt: skip

    async def connect(self) -> None:
        await self._drop_plain()
        producer = self._producer("")
        try:
            await producer.start()
            await producer.partitions(self._settings.topic)
        except FAILURES as error:
            await producer.stop(soon=True)
            raise failure(error, f"connecting to {self.sink.name}") from error
        except asyncio.CancelledError:
            await producer.stop(soon=True)
            raise
        self._plain = producer

    def _producer(self, transactional_id: str) -> Producer:
        settings = self._settings
        return Producer(
            settings, self._name,
            batch_bytes=settings.batch_bytes, record_bytes=settings.record_bytes, compression=settings.compression,
            transactional_id=transactional_id, transaction_timeout=settings.transaction_timeout,
        )  # fmt: skip

    # ---- lanes

    async def take_over(self, lane: str) -> tuple[int, Any]:
        """Begins with InitProducerId, which returns when the old owner's transaction is ended."""
        self._bound.add(lane)
        async with self._taking.setdefault(lane, asyncio.Lock()):
            old = self._lanes.pop(lane, None)
            if old is not None:
                await old.close()
            producer = self._producer(f"{self._prefix}/{lane}")
            try:
                await producer.start()
            except FAILURES as error:
                await producer.stop(soon=True)
                raise failure(error, f"taking over partition {lane}") from error
            except asyncio.CancelledError:
                await producer.stop(soon=True)
                raise
            epoch = next(self._epochs)
            self._lanes[lane] = Transaction(lane, epoch, producer, self._settings.request_timeout)
            return epoch, None

    async def release(self, lane: str) -> None:
        """It is another member's now: its producer goes."""
        async with self._taking.setdefault(lane, asyncio.Lock()):
            old = self._lanes.pop(lane, None)
            if old is not None:
                await old.close()

    # ---- writing

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        position, lane = rows.source.position, self._lanes.get(rows.source.lane)
        if position is None or rows.source.lane not in self._bound:
            await self._write_plain(rows)
        elif lane is None:
            raise Fenced(f"partition {rows.source.lane} has to be taken over first")
        elif lane.epoch != rows.source.epoch:
            raise Fenced(f"partition {rows.source.lane} was taken over since epoch {rows.source.epoch}")
        else:
            await lane.write(position, lambda producer: self._send(producer, rows, dead))

    async def _write_plain(self, rows: Rows) -> None:
        producer = self._plain
        if producer is None:
            raise Transient(f"{self.sink.name} is not connected")
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                await self._send(producer, rows, ())
        except FAILURES as error:
            # What it has not sent yet must not come after what is written next.
            if self._plain is producer:
                await self._drop_plain()
            raise failure(error, f"writing to {self.sink.name}") from error

    async def _send(self, producer: Producer, rows: Rows, dead: Sequence[DeadLetter]) -> None:
        settings = self._settings
        stamp = settings.timestamps == "record"
        if dead:
            letters = _letters(dead)
            partitions = await producer.partitions(settings.dead_letters)
            split = self._partitioner.split(letters.keys, len(letters), partitions)
            await producer.send(letters, settings.dead_letters, split, stamp=False)
        if len(rows.batch):
            route = await self._route(producer, rows)
            await producer.send(rows.batch, settings.topic, route, stamp=stamp)

    async def _route(self, producer: Producer, rows: Rows) -> Mapping[int, Sequence[int]]:
        settings, position = self._settings, rows.source.position
        partitions = await producer.partitions(settings.topic)
        if settings.partition != "key" and isinstance(position, Position):
            as_many = position.partitions == partitions
            if as_many or (settings.partition == "same" and position.partition < partitions):
                return {position.partition: range(len(rows.batch))}
        if settings.partition == "same":
            raise Transient(f"topic '{settings.topic}' has {partitions} partitions, and none for {rows.source.lane}")
        return self._partitioner.split(rows.batch.keys, len(rows.batch), partitions)

    async def _drop_plain(self) -> None:
        producer, self._plain = self._plain, None
        if producer is not None:
            await producer.stop(soon=True)

    async def close(self) -> None:
        producer, self._plain = self._plain, None
        lanes = [self._lanes.pop(lane) for lane in list(self._lanes)]
        if producer is not None:
            await producer.stop(soon=False)
        await asyncio.gather(*(lane.close() for lane in lanes))


def _letters(dead: Sequence[DeadLetter]) -> Batch:
    return Batch(
        [found.message.id for found in dead],
        [letter.encode(found) for found in dead],
        [found.message.key for found in dead],
        [(("sluice-reason", found.reason.encode()),) for found in dead],
    )
