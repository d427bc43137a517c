"""A topic as an output: where results go, what they carry, and what is refused."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)
from contract.stands import connected, run
from servers.server import installed

from adapters.kafka.position import Position
from adapters.kafka.settings import Sasl
from gateway.core.stream import Batch, DataError, Message, Rows, Token, Transient

if TYPE_CHECKING:
    from kafka_sides import Sides
    from servers.kafka import Kafka, Topics

NOWHERE = Token("elsewhere", 1)


def rows(values: list[bytes | None], keys: list[bytes | None] | None = None, source: Token = NOWHERE) -> Rows:
    return Rows(
        Batch.of([Message(f"id-{n}", value, keys[n] if keys else None) for n, value in enumerate(values)]), source
    )


def test_a_result_keeps_what_it_has_and_its_partition(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create(3)
    message = Message("a", b"1", b"key", (("sluice-model", b"T"), ("traceparent", b"00-1")), 1_700_000_000_000)

    async def test() -> None:
        async with connected(sides.output(topic)) as output:
            for partition in (2, 0):
                position = Position("g", "source", partition, 7, 3)
                await output.write(Rows(Batch.of([message]), Token(position.lane, 1, position)))

    run(test)
    first, second = kafka.messages(topic)
    assert (first.partition(), second.partition()) == (0, 2)
    assert (first.key(), first.value(), first.timestamp()[1]) == (b"key", b"1", 1_700_000_000_000)
    assert first.headers() == [("sluice-model", b"T"), ("traceparent", b"00-1")]
    kafka.delete(topic)


def test_by_key_where_the_topics_have_not_as_many_partitions(kafka: Topics, sides: Sides) -> None:
    ours, theirs = kafka.create(4), kafka.create(4)
    keys: list[bytes | None] = [b"k%d" % n for n in range(50)]
    kafka.write(theirs, [b"x"] * 50, keys)

    async def test() -> None:
        async with connected(sides.output(ours)) as output:
            position = Position("g", "source", 1, 50, 2)
            await output.write(rows([b"x"] * 50, keys, Token(position.lane, 1, position)))
            await output.write(rows([b"keyless"] * 3))

    run(test)
    expected = {(m.key(), m.partition()) for m in kafka.messages(theirs)}
    found = kafka.messages(ours)
    assert {(m.key(), m.partition()) for m in found if m.key()} == expected
    assert len({m.partition() for m in found if not m.key()}) == 1
    kafka.delete(ours, theirs)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_kcat_reads_what_is_written(kafka: Topics, sides: Sides, codec: Any) -> None:
    topic = kafka.create()
    values: list[bytes | None] = [b"%04d" % n * 10 for n in range(500)]

    async def test() -> None:
        async with connected(sides.output(topic, compression=codec, batch_bytes=5000)) as output:
            await output.write(rows(values))

    run(test)
    said = subprocess.run(
        [installed("kcat"), "-C", "-b", kafka.address, "-t", topic, "-e", "-q"],
        capture_output=True, check=True, timeout=30,
    ).stdout  # fmt: skip
    assert said.split() == values
    kafka.delete(topic)


def test_tombstones(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create()

    async def test() -> None:
        async with connected(sides.output(topic)) as output:
            await output.write(rows([None, b"1"], [b"gone", b"there"]))

    run(test)
    assert kafka.read(topic) == [(b"gone", None, []), (b"there", b"1", [])]
    kafka.delete(topic)


@pytest.mark.parametrize("transactions", [False, True])
def test_a_record_that_is_too_large_is_named_and_nothing_is_written(
    kafka: Topics, sides: Sides, transactions: bool
) -> None:
    topic, source = kafka.create(), kafka.create()

    async def test() -> None:
        async with connected(sides.output(topic, transactions=transactions, record_bytes=2000)) as output:
            position = Position(sides.pipeline, source, 0, 1, 1)
            token = Token(position.lane, (await output.take_over(position.lane))[0] if transactions else 1, position)
            with pytest.raises(DataError, match=r"the result of id-2 has \d+ bytes .* at most 2000") as caught:
                await output.write(rows([b"1", b"2", b"x" * 2000, b"4"], source=token))
            assert caught.value.record == 2
            await output.write(rows([b"after"], source=token))

    run(test)
    assert [value for _, value, _ in kafka.read(topic)] == [b"after"]
    kafka.delete(topic, source)


@pytest.mark.parametrize("transactions", [False, True])
def test_a_record_that_the_broker_finds_too_large_is_named(kafka: Topics, sides: Sides, transactions: bool) -> None:
    """The topic takes less than `record_bytes` and `batch_bytes`: batches are halved until they fit."""
    topic, source = kafka.create(max_message_bytes="2000"), kafka.create()
    good: list[bytes | None] = [b"%03d" % n * 100 for n in range(20)]

    async def test() -> None:
        async with connected(sides.output(topic, transactions=transactions)) as output:
            position = Position(sides.pipeline, source, 0, 1, 1)
            token = Token(position.lane, (await output.take_over(position.lane))[0] if transactions else 1, position)
            await output.write(rows(good, source=token))
            with pytest.raises(DataError, match="refused as too large") as caught:
                await output.write(rows([b"x" * 3000], source=token))
            assert caught.value.record == 0
            with pytest.raises(DataError) as caught:
                await output.write(rows([b"1", b"2", b"x" * 3000], source=token))
            assert caught.value.record == 2

    run(test)
    assert [value for _, value, _ in kafka.read(topic)][:20] == good
    kafka.delete(topic, source)


def test_a_topic_that_is_not_there_is_named(own_kafka: Kafka, own_sides: Sides) -> None:
    async def test() -> None:
        output = own_sides.output("t-nowhere", request_timeout=2.0)
        with pytest.raises(Transient, match="t-nowhere"):
            await output.connect()
        await output.close()

    run(test)


def test_a_topic_that_goes_is_named(own_kafka: Kafka, own_sides: Sides) -> None:
    topic = own_kafka.create()

    async def test() -> None:
        async with connected(own_sides.output(topic, request_timeout=2.0)) as output:
            await output.write(rows([b"1"]))
            own_kafka.delete(topic)
            with pytest.raises(Transient, match=topic):
                await output.write(rows([b"2"]))

    run(test)


def test_a_broker_that_is_silent_and_comes_back(own_kafka: Kafka, own_sides: Sides) -> None:
    topic = own_kafka.create()

    async def test() -> None:
        output = own_sides.output(topic, request_timeout=1.5)
        async with connected(output):
            await output.write(rows([b"1"]))
            own_kafka.pause()
            try:
                with pytest.raises(Transient):
                    await output.write(rows([b"perhaps"]))
            finally:
                own_kafka.resume()
            for _ in range(20):
                try:
                    await output.connect()
                    break
                except Transient:
                    await asyncio.sleep(0.1)
            await output.write(rows([b"2"]))

    run(test)
    found = [value for _, value, _ in own_kafka.read(topic)]
    assert found in ([b"1", b"2"], [b"1", b"perhaps", b"2"])
    own_kafka.delete(topic)


def test_when_one_lane_gives_up_the_others_are_told(own_kafka: Kafka, own_sides: Sides) -> None:
    """They share a producer. A write that ended as if its task had been cancelled would end the task without a word."""
    topic = own_kafka.create(2)

    async def test() -> None:
        output = own_sides.output(topic, request_timeout=2.0)
        async with connected(output):
            sources = [Position("g", "source", partition, 1, 2) for partition in range(2)]
            own_kafka.pause()
            try:
                first = asyncio.ensure_future(output.write(rows([b"1"], source=Token("source/0", 1, sources[0]))))
                await asyncio.sleep(0.5)  # so that its time is up before the other's
                second = asyncio.ensure_future(output.write(rows([b"2"], source=Token("source/1", 1, sources[1]))))
                outcomes = await asyncio.gather(first, second, return_exceptions=True)
            finally:
                own_kafka.resume()
        assert [type(outcome) for outcome in outcomes] == [Transient, Transient]

    run(test)
    own_kafka.delete(topic)


def test_a_right_that_is_taken_and_given_back(own_kafka: Kafka, own_sides: Sides) -> None:
    topic = own_kafka.create()
    match: tuple[Any, ...] = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:alice", "*")
    sasl = Sasl(username="alice", password="wonder", mechanism="PLAIN")

    async def test() -> None:
        async with connected(own_sides.output(topic, brokers=[own_kafka.sasl], sasl=sasl)) as output:
            await output.write(rows([b"1"]))
            own_kafka.allow(AclBinding(*match, AclOperation.WRITE, AclPermissionType.DENY))
            with pytest.raises(Transient, match=rf"writing to Kafka topic {topic}: the brokers do not allow it"):
                await output.write(rows([b"2"]))
            own_kafka.forget(AclBindingFilter(*match, AclOperation.ANY, AclPermissionType.ANY))
            await output.connect()
            await output.write(rows([b"3"]))

    run(test)
    assert [value for _, value, _ in own_kafka.read(topic)] == [b"1", b"3"]
    own_kafka.delete(topic)


def test_no_record_of_a_compacted_topic_is_without_a_key(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create(cleanup_policy="compact")

    async def test() -> None:
        async with connected(sides.output(topic)) as output:
            await output.write(rows([b"1"], [b"k"]))
            with pytest.raises(DataError):
                await output.write(rows([b"2"]))

    run(test)
    kafka.delete(topic)
