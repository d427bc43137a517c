"""A member of a group: others that come, brokers that go, and what is done where nothing comes any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from contract.stands import Reader, cancelled, connected, run
from kafka_sides import Sides, messages, until
from servers.fixtures import serving

from gateway.core.stream import Credit, Transient

if TYPE_CHECKING:
    from servers.kafka import Kafka, Topics

    from adapters.kafka.input import KafkaInput


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


def test_a_group_without_a_coordinator_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """The topic of the offsets cannot be made: it wants more brokers than there are."""
    from servers.kafka import Kafka

    monkeypatch.setattr("adapters.kafka.input._GLANCE", 0.2)
    with serving("kafka", lambda: Kafka(offsets_topic_replication_factor="3")) as kafka:
        sides, topic = Sides(kafka.address), kafka.create()

        async def test() -> None:
            async with connected(sides.input(topic, request_timeout=1.5, session_timeout=1.0)) as connector:
                said = rf"reading Kafka topic {topic}: .*group {sides.pipeline} was not shared out for 2\.5 s"
                with pytest.raises(Transient, match=said):
                    await messages(connector, 1)

        run(test)
