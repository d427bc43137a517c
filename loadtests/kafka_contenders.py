"""What `streams_kafka` lets run beside each other: each is a process, which prints what a record has cost."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import psutil
import uvloop

PARTITIONS: Final = 4
RECORDS: Final = 400_000
PINGS: Final = 300


def _clock() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def _told(begin: tuple[float, float], records: int) -> None:
    cpu, wall = (now - then for now, then in zip(_clock(), begin, strict=True))
    print(json.dumps({"cpu": cpu * 1e6 / records, "rate": records / wall}))


async def sluice(given: argparse.Namespace) -> None:
    """The pipeline as a stream worker runs it."""
    from adapters.kafka.input import KafkaInput
    from adapters.kafka.output import KafkaOutput
    from adapters.kafka.settings import KafkaSink, KafkaSource
    from gateway.core.stream import Batch, Context, Credit, Token
    from gateway.pipeline.policy import Batching, Policy
    from gateway.pipeline.runner import Runner
    from loadtests.streams import scorer, serving

    begin: list[tuple[float, float]] = []

    class Timed(KafkaInput):
        async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
            found = await super().read(credit)
            if not begin:
                begin.append(_clock())
            return found

    brokers = [given.broker]
    exactly = given.worker == "exactly"
    output = KafkaOutput(KafkaSink(brokers=brokers, topic=given.output, transactions=exactly), Context(given.output))
    dead = KafkaOutput(KafkaSink(brokers=brokers, topic=given.dead, transactions=False), Context(given.output))
    context = Context(given.output, output if exactly else None)
    source = Timed(KafkaSource(brokers=brokers, topics=[given.input]), context, until_end=not given.pings)
    async with serving(given.models) as dataplane:
        batching = Batching(rows=given.rows, rows_in_flight=PARTITIONS * 3 * given.rows, ahead=given.ahead)
        runner = Runner(given.output, source, output, dead, scorer(dataplane), Policy(batching=batching))
        gc.collect()
        gc.freeze()
        if given.pings:
            await _ping(given, runner)
            return
        before = psutil.Process().memory_info().rss
        running = asyncio.create_task(runner.run())
        if given.hundred:
            await _held(runner, before)
        await running
        status = runner.status()
        assert status.acknowledged == RECORDS, status
        if not given.hundred:
            _told(begin[0], RECORDS)


async def _held(runner: Any, before: int) -> None:
    """Says what the worker holds when it is half-way."""
    while runner.status().acknowledged < RECORDS // 2:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.05)
    process = psutil.Process()
    held = process.memory_info().rss - before
    print(json.dumps({"connections": len(process.net_connections()), "megabytes": held / 2**20}))


async def _ping(given: argparse.Namespace, runner: Any) -> None:
    """Writes a record, waits for its result, and so on: in this process, so that one clock tells."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    from loadtests.streams import texts

    running = asyncio.create_task(runner.run())
    producer = AIOKafkaProducer(bootstrap_servers=given.broker)
    consumer = AIOKafkaConsumer(given.output, bootstrap_servers=given.broker, isolation_level="read_committed")
    await producer.start()
    await consumer.start()
    await consumer.seek_to_end()
    taken = []
    value = texts()[0]
    for number in range(PINGS + 20):
        begin = time.perf_counter()
        await producer.send(given.input, value, partition=number % PARTITIONS)
        await consumer.getone()
        taken.append(time.perf_counter() - begin)
    runner.drain(5)
    await running
    await consumer.stop()
    await producer.stop()
    taken = sorted(taken[20:])
    print(json.dumps({"p50": taken[len(taken) // 2] * 1e3, "p99": taken[len(taken) * 99 // 100] * 1e3}))


async def send(given: argparse.Namespace) -> None:
    """What a loop over aiokafka's documented calls costs, one `send` a record, at least once."""
    await _copy(given, _one_by_one)


async def send_batch(given: argparse.Namespace) -> None:
    await _copy(given, _by_batch)


async def _copy(given: argparse.Namespace, write: Callable[..., Awaitable[None]]) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    consumer = AIOKafkaConsumer(
        given.input, bootstrap_servers=given.broker, group_id=given.output, enable_auto_commit=False,
        auto_offset_reset="earliest",
    )  # fmt: skip
    producer = AIOKafkaProducer(bootstrap_servers=given.broker, enable_idempotence=True, max_batch_size=512 * 1024)
    await consumer.start()
    await producer.start()
    done, begin = 0, None
    while done < RECORDS:
        found = await consumer.getmany(timeout_ms=1000, max_records=given.rows)
        begin = begin or (_clock() if found else None)
        for tp, records in found.items():
            await write(producer, given.output, tp.partition, records)
            done += len(records)
        await consumer.commit()
    assert begin is not None
    _told(begin, RECORDS)
    await consumer.stop()
    await producer.stop()


async def _one_by_one(producer: Any, topic: str, partition: int, records: Any) -> None:
    sent = [await producer.send(topic, r.value, r.key, partition=partition) for r in records]
    await asyncio.gather(*sent)


async def _by_batch(producer: Any, topic: str, partition: int, records: Any) -> None:
    sent, batch = [], producer.create_batch()
    for r in records:
        if batch.append(timestamp=r.timestamp, key=r.key, value=r.value) is None:
            sent.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(timestamp=r.timestamp, key=r.key, value=r.value)
    sent.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*sent)


async def confluent(given: argparse.Namespace) -> None:
    from confluent_kafka import Consumer, Producer

    consumer = Consumer({"bootstrap.servers": given.broker, "group.id": given.output, "enable.auto.commit": False,
                         "auto.offset.reset": "earliest"})  # fmt: skip
    producer = Producer({"bootstrap.servers": given.broker, "enable.idempotence": True,
                         "queue.buffering.max.messages": 1_000_000})  # fmt: skip
    consumer.subscribe([given.input])
    done, begin = 0, None
    while done < RECORDS:
        found = consumer.consume(given.rows, 1.0)
        begin = begin or (_clock() if found else None)
        for message in found:
            producer.produce(given.output, message.value(), message.key(), message.partition())
        producer.flush()
        done += len(found)
        consumer.commit(asynchronous=False)
    assert begin is not None
    _told(begin, RECORDS)
    consumer.close()


CONTENDERS: Final[dict[str, Callable[[argparse.Namespace], Awaitable[None]]]] = {
    "least": sluice, "exactly": sluice, "send": send, "send_batch": send_batch, "confluent": confluent,
}  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--worker", choices=[*CONTENDERS])
    for name in ("--broker", "--input", "--output", "--dead"):
        arguments.add_argument(name)
    arguments.add_argument("--rows", type=int)
    arguments.add_argument("--ahead", type=int, default=1)
    arguments.add_argument("--models", type=Path)
    arguments.add_argument("--pings", action="store_true")
    arguments.add_argument("--hundred", action="store_true")
    given = arguments.parse_args()
    logging.basicConfig(level=logging.ERROR)
    uvloop.run(CONTENDERS[given.worker](given))


if __name__ == "__main__":
    main()
