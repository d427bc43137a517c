"""Topics as an input: what a record keeps, what is skipped, and what is waited for."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from contract.stands import Reader, cancelled, connected, run
from kafka_sides import until
from servers.server import installed

from adapters.kafka.position import Position
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Batch, Credit, Message, Rows, Token, Transient

if TYPE_CHECKING:
    from kafka_sides import Sides
    from servers.kafka import Kafka, Topics

    from adapters.kafka.input import KafkaInput

CREDIT = Credit(1000, 1 << 30)


async def messages(connector: KafkaInput, count: int, credit: Credit = CREDIT) -> list[Message]:
    found: list[Message] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            got = await connector.read(credit)
            assert got is not None
            found += [got[0][at] for at in range(len(got[0]))]
            await connector.ack(got[1])
    return found


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


def test_a_topic_that_is_not_there_is_waited_for(kafka: Topics, sides: Sides) -> None:
    async def test() -> None:
        connector = sides.input("t-not-there-yet")
        try:
            for _ in range(2):
                with pytest.raises(Transient, match="there is no topic 't-not-there-yet'"):
                    await connector.connect()
        finally:
            await connector.close()

    run(test)


def test_a_topic_that_goes_and_comes_again(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create()
    kafka.write(topic, [b"1", b"2", b"3"])

    async def test() -> None:
        connector = sides.input(topic)
        async with connected(connector):
            assert len(await messages(connector, 3)) == 3
            kafka.delete(topic)
            with pytest.raises(Transient, match=f"there is no topic '{topic}'"):
                await connector.read(CREDIT)
            with pytest.raises(Transient, match=f"there is no topic '{topic}'"):
                await connector.connect()

    run(test)


def test_records_that_were_deleted_before_they_were_read(
    kafka: Topics, sides: Sides, caplog: pytest.LogCaptureFixture
) -> None:
    topic = kafka.create()
    kafka.write(topic, [b"%d" % n for n in range(20)])

    async def test() -> None:
        async with connected(sides.input(topic)) as connector:
            await messages(connector, 5, Credit(5, 1 << 20))
        kafka.truncate(topic, 12)
        async with connected(sides.input(topic)) as connector:
            assert [m.value for m in await messages(connector, 8)] == [b"%d" % n for n in range(12, 20)]

    run(test)
    assert "offset 5 is not in it, which has 12 to 20; going on at 12" in caplog.text
    kafka.delete(topic)


def test_two_members_share_and_a_rebalance_in_mid_batch_loses_nothing(kafka: Topics, sides: Sides) -> None:
    """What the first has read and acknowledged, the second does not see; what it has not, comes again."""
    topic = kafka.create(4)
    for partition in range(4):
        kafka.write(topic, [b"%d-%d" % (partition, n) for n in range(50)], partition=partition)

    async def test() -> None:
        done: list[bytes | None] = []

        async def work(connector: KafkaInput) -> None:
            while True:
                found = await connector.read(Credit(7, 1 << 20))
                assert found is not None
                await asyncio.sleep(0)
                try:
                    await connector.ack(found[1])
                except Transient:
                    continue
                done.extend(found[0].values)

        async with connected(sides.input(topic)) as first:
            one = asyncio.ensure_future(work(first))
            await until(lambda: len(done) >= 30)
            async with connected(sides.input(topic)) as second:
                two = asyncio.ensure_future(work(second))
                async with asyncio.timeout(20):
                    while len(done) < 200 or not await second.lag():
                        assert not one.done()
                        await asyncio.sleep(0.01)
                await Reader(first).nothing()
                assert len(await first.lag()) == len(await second.lag()) == 2
                await cancelled(two)
            await cancelled(one)
        assert len(set(done)) == 200
        assert len(done) == 200

    run(test)
    kafka.delete(topic)


def test_partitions_that_are_added_are_read(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create(1)

    async def test() -> None:
        connector = sides.input(topic)
        async with connected(connector):
            kafka.write(topic, [b"0"], partition=0)
            assert [m.value for m in await messages(connector, 1)] == [b"0"]
            kafka.grow(topic, 2)
            kafka.write(topic, [b"1"], partition=1)
            # a client looks every five minutes; here it is told to
            await connector._member.consumer._client.force_metadata_update()
            assert [m.value for m in await messages(connector, 1)] == [b"1"]

    run(test)
    kafka.delete(topic)


def test_the_broker_is_restarted_in_the_middle(own_kafka: Kafka, own_sides: Sides) -> None:
    topic = own_kafka.create(2)
    own_kafka.write(topic, [b"%d" % n for n in range(100)], [b"%d" % n for n in range(100)])

    async def test() -> None:
        async with connected(own_sides.input(topic)) as connector:
            found = [m.value for m in await messages(connector, 60, Credit(20, 1 << 20))]
            await asyncio.to_thread(own_kafka.stop)
            await asyncio.to_thread(own_kafka.start)
            own_kafka.write(topic, [b"%d" % n for n in range(100, 150)])
            while len(set(found)) < 150:
                try:
                    found += [m.value for m in await messages(connector, 1)]
                except Transient:
                    await connector.connect()
            # offsets are committed: another one goes on behind them
        async with connected(own_sides.input(topic)) as connector:
            await Reader(connector).nothing()
        assert len(found) == 150

    run(test)
    own_kafka.delete(topic)


def test_a_topic_that_was_made_anew_is_read_from_its_start(
    kafka: Topics, sides: Sides, caplog: pytest.LogCaptureFixture
) -> None:
    topic, group = kafka.create(), {"group": "of-its-own"}
    kafka.write(topic, [b"%d" % n for n in range(10)])

    async def test() -> None:
        async with connected(sides.input(topic, **group)) as connector:
            await messages(connector, 10)
        # brokers forget the offsets of a topic that is deleted, but not where they are told them afterwards
        kafka.delete(topic)
        await asyncio.to_thread(kafka.recreate, topic)
        kafka.write(topic, [b"new"])
        kafka.commit(group["group"], topic, 10)
        async with connected(sides.input(topic, **group)) as connector:
            assert [m.value for m in await messages(connector, 1)] == [b"new"]

    run(test)
    assert "offset 10 is not in it, which has 0 to 1; going on at 0" in caplog.text
    kafka.delete(topic)


def test_a_consumer_that_fetches_nothing_is_made_anew(
    kafka: Topics, sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka.create()
    kafka.write(topic, [b"1"])
    monkeypatch.setattr("adapters.kafka.input._GLANCE", 0.2)

    async def test() -> None:
        connector = sides.input(topic, request_timeout=1.5)
        async with connected(connector):
            await messages(connector, 1)
            connector._member.consumer.pause(next(iter(connector._member.lanes)))
            kafka.write(topic, [b"2"])
            with pytest.raises(Transient, match=f"records of {topic}/0 from 1 on are not fetched"):
                await messages(connector, 1)
            await connector.connect()
            assert [m.value for m in await messages(connector, 1)] == [b"2"]

    run(test)
    kafka.delete(topic)


def test_brokers_that_are_silent_are_told_of(
    own_kafka: Kafka, own_sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = own_kafka.create()
    own_kafka.write(topic, [b"1"])
    monkeypatch.setattr("adapters.kafka.input._GLANCE", 0.2)

    async def test() -> None:
        async with connected(own_sides.input(topic, request_timeout=2.0)) as connector:
            await messages(connector, 1)
            own_kafka.pause()
            try:
                with pytest.raises(Transient, match="reading"):
                    await messages(connector, 1)
                with pytest.raises(Transient, match="connecting"):
                    await connector.connect()
            finally:
                own_kafka.resume()
            own_kafka.write(topic, [b"2"])
            got: list[bytes | None] = []
            while b"2" not in got:
                try:
                    await connector.connect()
                    got += [m.value for m in await messages(connector, 1)]
                except Transient:
                    await asyncio.sleep(0.1)

    run(test)
    own_kafka.delete(topic)
