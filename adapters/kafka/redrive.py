"""Puts dead letters back into the topics that they were read from: key, headers and partition as they were."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from adapters.kafka.cluster import domain
from adapters.kafka.failure import FAILURES, failure
from adapters.kafka.position import partition_of
from adapters.kafka.producer import Producer
from adapters.kafka.settings import MIB, KafkaSource
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Context, DataError, DeadLetter, Rows, Sink, Transient


class KafkaRedrive:
    """An Output of an input's settings. Where a record came from is in its id, topic/partition/offset."""

    def __init__(self, settings: KafkaSource, context: Context) -> None:
        self._settings: Final = settings
        self._name: Final = context.pipeline
        self._producer: Producer | None = None

    @property
    def sink(self) -> Sink:
        return Sink(f"Kafka topic {', '.join(self._settings.topics)}", domain=domain(self._settings))

    async def connect(self) -> None:
        await self.close()
        # A record that was read can be written again: no limit but the broker's.
        producer = Producer(self._settings, self._name, batch_bytes=MIB // 2, record_bytes=2**31 - 1)
        try:
            await producer.start()
        except FAILURES as error:
            await producer.stop(soon=True)
            raise failure(error, f"connecting to {self.sink.name}") from error
        self._producer = producer

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        producer = self._producer
        if producer is None:
            raise Transient(f"{self.sink.name} is not connected")
        split: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for row, name in enumerate(rows.batch.ids):
            topic, partition = self._origin(name, row)
            split[topic][partition].append(row)
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                for topic, partitions in split.items():
                    if max(partitions) >= await producer.partitions(topic):
                        raise Transient(f"topic '{topic}' has no partition {max(partitions)} any more")
                    await producer.send(rows.batch, topic, partitions, stamp=False)
        except FAILURES as error:
            raise failure(error, f"writing to {self.sink.name}") from error

    def _origin(self, id: str, row: int) -> tuple[str, int]:
        try:
            topic, partition = partition_of(id.rpartition("/")[0])
        except InvalidArgument:
            raise DataError(
                f"'{id}' is not the id of a record of Kafka: expected topic/partition/offset", row
            ) from None
        if topic not in self._settings.topics:
            raise DataError(f"'{id}' came from topic '{topic}', which this input does not read", row)
        return topic, partition

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop(soon=False)
