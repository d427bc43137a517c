"""What a topic loses while a stream runs: itself, or its oldest records. What is there is copied, the rest is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

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
from copying import copying
from kafka_sides import CREDIT, messages

from adapters.kafka.settings import Sasl
from gateway.core.stream import Credit, Transient

if TYPE_CHECKING:
    from kafka_sides import Sides
    from servers.kafka import Kafka, Topics


@pytest.fixture
def topics(own_kafka: Kafka) -> Iterator[tuple[str, str]]:
    found = own_kafka.create(), own_kafka.create()
    yield found
    own_kafka.delete(*found)


def values(start: int, stop: int, size: int = 0) -> list[bytes | None]:
    return [b"%d" % n + b" " * size for n in range(start, stop)]


def numbers(kafka: Topics, topic: str) -> list[int]:
    return [int(value or b"") for _, value, _ in kafka.read(topic)]


@pytest.mark.parametrize("exactly", [True, False])
def test_an_input_that_is_deleted_and_made_again(
    own_kafka: Kafka, own_sides: Sides, topics: tuple[str, str], monkeypatch: pytest.MonkeyPatch, exactly: bool
) -> None:
    source, target = topics
    monkeypatch.setattr("adapters.kafka.input._GLANCE", 0.2)

    async def test() -> None:
        out = own_sides.output(target, transactions=exactly, request_timeout=5.0)
        inp = own_sides.input(source, out if exactly else None, request_timeout=5.0)
        async with copying(inp, out) as copier:
            own_kafka.write(source, values(0, 100))
            await copier.copies(100)
            own_kafka.delete(source)
            await copier.waits("input: .*there is no (such )?topic.*")
            await asyncio.to_thread(own_kafka.recreate, source)
            own_kafka.write(source, values(100, 130))
            await copier.copies(130)

    run(test)
    assert numbers(own_kafka, target) == list(range(130))


@pytest.mark.parametrize("exactly", [True, False])
def test_an_output_that_is_deleted_and_made_again(
    own_kafka: Kafka, own_sides: Sides, topics: tuple[str, str], exactly: bool
) -> None:
    """The results of before are gone with it; those of after are all there."""
    source, target = topics

    async def test() -> None:
        out = own_sides.output(target, transactions=exactly, request_timeout=3.0)
        inp = own_sides.input(source, out if exactly else None, request_timeout=3.0)
        async with copying(inp, out) as copier:
            own_kafka.write(source, values(0, 100))
            await copier.copies(100)
            own_kafka.delete(target)
            own_kafka.write(source, values(100, 200))
            await copier.waits(f"output: .*{target}")
            await asyncio.to_thread(own_kafka.recreate, target)
            await copier.copies(200)

    run(test)
    assert numbers(own_kafka, target) == list(range(100, 200))


@pytest.mark.parametrize("exactly", [True, False])
def test_records_that_are_deleted_while_the_output_waits(
    own_kafka: Kafka, own_sides: Sides, topics: tuple[str, str], caplog: pytest.LogCaptureFixture, exactly: bool
) -> None:
    """By the retention of their topic, behind what is in flight."""
    source, target = topics
    write = (ResourceType.TOPIC, target, ResourcePatternType.LITERAL, "User:alice", "*")

    async def test() -> None:
        sasl = Sasl(username="alice", password="wonder")
        out = own_sides.output(target, transactions=exactly, brokers=[own_kafka.sasl], sasl=sasl)
        given = {"brokers": [own_kafka.sasl], "sasl": sasl, "fetch_bytes": 20_000}
        async with copying(own_sides.input(source, out if exactly else None, **given), out) as copier:
            own_kafka.write(source, values(0, 10))
            await copier.copies(10)
            own_kafka.allow(AclBinding(*write, AclOperation.WRITE, AclPermissionType.DENY))
            await asyncio.to_thread(own_kafka.write, source, values(10, 2000, size=1000), **{"batch.size": 10_000})
            await copier.waits("output: .*do not allow it")
            await asyncio.to_thread(own_kafka.truncate, source, 1500)
            own_kafka.forget(AclBindingFilter(*write, AclOperation.ANY, AclPermissionType.ANY))
            await copier.copies(510)

    run(test)
    found = numbers(own_kafka, target)
    assert sorted(set(found)) == found
    assert found[-500:] == list(range(1500, 2000))
    assert found[:-500] == list(range(len(found) - 500)), "what was in flight, and no gap in it"
    assert "is not in it, which has 1500 to 2000; going on at 1500" in caplog.text


# ---- the input alone


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
