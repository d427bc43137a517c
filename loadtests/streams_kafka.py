"""Kafka → Kafka: what a record costs a stream worker, beside what the clients cost without a model.

T with 30 JSON numbers in and two out, four partitions, the producer ahead of time. Each contender is a process of its
own, so that its CPU time is its own; CPU time is all threads', from the first record to the last acknowledgement.

    sluice        at least once, and exactly once, by records of a batch
    send          aiokafka consumes, and `send`s the same bytes: no model
    send_batch    the same by batches of a partition: the least that aiokafka can do
    confluent     librdkafka consumes and produces the same bytes
    latency       one record in flight: from the write of a record to its result at a reader that reads committed
    hundred       connections and memory of a worker that has all 100 partitions

`python -m loadtests.streams_kafka [--rounds N]`; SLUICE_TEST_KAFKA=host:port takes a broker that is there.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import uvloop

ROOT: Final = Path(__file__).parents[1]
PARTITIONS: Final = 4
RECORDS: Final = 200_000
PINGS: Final = 300


# ---- in the worker


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
        gc.set_threshold(20_000, 20, 50)  # as gateway/app/engine.py
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


# ---- in the driver


@contextmanager
def broker() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "tests"))
    from servers.kafka import Kafka, Topics

    if address := os.environ.get("SLUICE_TEST_KAFKA"):
        yield Topics(address)
        return
    with Kafka() as running:
        yield running


def run(
    topics: Any, models: Path, what: str, source: str, rows: int, *, partitions: int = PARTITIONS, flag: str = ""
) -> dict[str, float]:
    output, dead = topics.create(partitions), topics.create()
    command = [
        sys.executable, "-m", "loadtests.streams_kafka", "--worker", what, "--broker", topics.address,
        "--input", source, "--output", output, "--dead", dead, "--rows", str(rows), "--models", str(models),
        *([flag] if flag else []),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    topics.delete(output, dead)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def fill(topics: Any, partitions: int = PARTITIONS) -> str:
    from loadtests.streams import texts

    values, topic = texts(), topics.create(partitions)
    for partition in range(partitions):
        rows = range(partition, RECORDS, partitions)
        topics.write(
            topic, [values[n % len(values)] for n in rows], [b"%d" % (n % 5000) for n in rows], partition=partition,
            **{"queue.buffering.max.messages": 1_000_000},
        )  # fmt: skip
    return str(topic)


#: name, contender, records of a batch
ROUND: Final = (
    ("sluice, at least once, 1,000", "least", 1000),
    ("sluice, at least once, 4,000", "least", 4000),
    ("sluice, exactly once, 1,000", "exactly", 1000),
    ("sluice, exactly once, 4,000", "exactly", 4000),
    ("aiokafka, send, no model", "send", 1000),
    ("aiokafka, send_batch, no model", "send_batch", 1000),
    ("confluent-kafka, no model", "confluent", 1000),
)


def drive(rounds: int, only: str) -> None:
    from loadtests.models import make

    with tempfile.TemporaryDirectory() as temporary, broker() as topics:
        folder = Path(temporary)
        make(folder)
        source = fill(topics)
        for number in range(rounds):
            for name, what, rows in ROUND:
                if only in name:
                    found = run(topics, folder / "tree", what, source, rows)
                    print(f"{number} {name:34} {found['cpu']:6.2f} µs CPU {found['rate']:9,.0f} records/s", flush=True)
        for name, what in (("at least once", "least"), ("exactly once", "exactly")):
            if only in "latency":
                found = run(topics, folder / "tree", what, topics.create(PARTITIONS), 1000, flag="--pings")
                print(f"  one in flight, {name:20} p50 {found['p50']:.1f} ms, p99 {found['p99']:.1f} ms", flush=True)
        if only in "hundred":
            many = fill(topics, 100)
            for name, what in (("at least once", "least"), ("exactly once", "exactly")):
                found = run(topics, folder / "tree", what, many, 1000, partitions=100, flag="--hundred")
                print(
                    f"  100 partitions, {name:15} {found['connections']:.0f} connections,"
                    f" {found['megabytes']:.0f} MiB beyond the model", flush=True,
                )  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", default="", help="contenders whose name has this in it")
    arguments.add_argument("--worker", choices=[*CONTENDERS])
    for name in ("--broker", "--input", "--output", "--dead"):
        arguments.add_argument(name)
    arguments.add_argument("--rows", type=int)
    arguments.add_argument("--ahead", type=int, default=1)
    arguments.add_argument("--models", type=Path)
    arguments.add_argument("--pings", action="store_true")
    arguments.add_argument("--hundred", action="store_true")
    given = arguments.parse_args()
    if given.worker:
        logging.basicConfig(level=logging.ERROR)
        uvloop.run(CONTENDERS[given.worker](given))
    else:
        drive(given.rounds, given.only)


if __name__ == "__main__":
    main()
