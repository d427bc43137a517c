"""Topics as an input: what a record keeps, what is skipped, and what is waited for."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from contract.stands import Reader, connected, run
from kafka_sides import messages, until
from servers.server import installed

from adapters.kafka.position import Position
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Batch, Credit, Message, Rows, Token

if TYPE_CHECKING:
    from kafka_sides import Sides
    from servers.kafka import Topics


def test_a_record_keeps_all_it_has(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create()
    kafka.write(
        topic, [b"1", None, b""], [b"k", b"t", None], [[("h", b"\xff"), ("traceparent", b"00")], [], [("n", None)]]
    )

    async def test() -> None:
        async with connected(sides.input(topic)) as connector:
            first, tombstone, last = await messages(connector, 3)
            assert first.id == f"{topic}/0/0"
            assert (first.value, first.key) == (b"1", b"k")
            assert first.headers == (("h", b"\xff"), ("traceparent", b"00"))
            assert abs(first.timestamp / 1000 - time.time()) < 60
            assert (tombstone.value, tombstone.key) == (None, b"t")
            assert (last.value, last.key, last.headers) == (b"", None, (("n", b""),))

    run(test)
    kafka.delete(topic)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_from_their_middle_on(kafka: Topics, sides: Sides, codec: str) -> None:
    topic = kafka.create()
    values = [b"%05d" % n * 20 for n in range(300)]
    kafka.write(topic, values, **{"compression.type": codec, "linger.ms": 200})

    async def test() -> None:
        async with connected(sides.input(topic)) as connector:
            found = await messages(connector, 130, Credit(13, 1 << 20))
        async with connected(sides.input(topic)) as connector:
            found += await messages(connector, 170, Credit(1000, 1000))
        assert [m.value for m in found] == values
        assert [m.id for m in found] == [f"{topic}/0/{n}" for n in range(300)]

    run(test)
    kafka.delete(topic)


def test_what_was_read_is_freed_without_the_collector(kafka: Topics, sides: Sides) -> None:
    """Each fetch may hold megabytes, and a worker's collector comes round seldom."""
    topic = kafka.create()

    async def test() -> None:
        async with connected(sides.input(topic)) as connector:
            gc.collect()
            gc.disable()
            try:
                for _ in range(5):
                    kafka.write(topic, [b"x"])
                    await messages(connector, 1)
                assert sum(isinstance(each, PartitionRecords) for each in gc.get_objects()) == 0
            finally:
                gc.enable()

    run(test)
    kafka.delete(topic)


def test_what_kcat_writes(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create()
    subprocess.run(
        [installed("kcat"), "-P", "-b", kafka.address, "-t", topic, "-K", ":", "-H", "from=kcat", "-Z"],
        input=b"a:1\nb:2\nc:\n", check=True, timeout=30,
    )  # fmt: skip

    async def test() -> None:
        async with connected(sides.input(topic)) as connector:
            found = await messages(connector, 3)
            assert [(m.key, m.value) for m in found] == [(b"a", b"1"), (b"b", b"2"), (b"c", None)]
            assert found[0].headers == (("from", b"kcat"),)

    run(test)
    kafka.delete(topic)


def test_records_of_10_mb_come_alone(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create(max_message_bytes="12000000")
    large = b"x" * 10_000_000
    kafka.write(topic, [b"1", large, b"2"], **{"message.max.bytes": 12_000_000})

    async def test() -> None:
        async with connected(sides.input(topic, fetch_bytes=10_000)) as connector:
            assert [len(m.value or b"") for m in await messages(connector, 3)] == [1, 10_000_000, 1]

    run(test)
    kafka.delete(topic)


def test_what_a_transaction_took_back_is_left_out(kafka: Topics, sides: Sides) -> None:
    source, target = kafka.create(), kafka.create()
    kafka.write(source, [b"1"])

    async def test() -> None:
        writer = sides.output(target, transactions=True)
        async with connected(writer):
            lane = f"{source}/0"
            epoch, _ = await writer.take_over(lane)
            token = Token(lane, epoch, Position(sides.pipeline, source, 0, 1, 1))
            for values in ([b"a", b"b"], [b"too large" * 200_000], [b"c"]):
                batch = Batch.of([Message(str(n), value) for n, value in enumerate(values)])
                try:
                    await writer.write(Rows(batch, token))
                except InvalidArgument:
                    assert values[0] != b"c"
        async with connected(sides.input(target, group="reader")) as connector:
            assert [m.value for m in await messages(connector, 3)] == [b"a", b"b", b"c"]
            lag = await connector.lag()
            assert lag[f"{target}/0"].records == 0  # the markers of transactions have offsets, too
        # it ends at a marker
        async with connected(sides.input(target, group="reader")) as connector:
            await Reader(connector).nothing()

    run(test)
    kafka.delete(source, target)


def test_lag_in_records_and_in_seconds(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create()
    kafka.write(topic, [b"x"] * 30)

    async def test() -> None:
        async with connected(sides.input(topic)) as connector:
            await messages(connector, 10, Credit(10, 1 << 20))
            lag = (await connector.lag())[f"{topic}/0"]
            assert lag.records == 20
            assert lag.seconds is not None
            assert 0 <= lag.seconds < 60
            await messages(connector, 20)
            assert (await connector.lag())[f"{topic}/0"].records == 0

    run(test)
    kafka.delete(topic)


def test_begins_at_the_latest_record_if_it_should(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create()
    kafka.write(topic, [b"old"])

    async def test() -> None:
        async with connected(sides.input(topic, start="latest")) as connector:
            reading = asyncio.ensure_future(messages(connector, 1))
            await until(lambda: any(lane.epoch for lane in connector._member.lanes.values()))
            kafka.write(topic, [b"new"])
            assert [m.value for m in await reading] == [b"new"]

    run(test)
    kafka.delete(topic)
