"""Queues and exchanges that go, fill or refuse while a stream runs: it waits, says for what, and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from secrets import token_hex

import pytest
import uvloop
from copying import copying
from queuecopy import CONTEXT, sink, source
from servers.fixtures import serving
from servers.rabbitmq import Queues, RabbitMQ

from adapters import memory
from gateway.core.stream import Message

FIRST = [b"%d" % n for n in range(100)]
LAST = [b"%d" % n for n in range(100, 300)]


class Place:
    """A queue that is read; and one that is written, behind an exchange."""

    def __init__(self, broker: Queues, **arguments: object) -> None:
        self.broker = broker
        self.given, self.taken = broker.queue(type="quorum"), broker.queue(type="classic", **arguments)
        self.exchange = f"x-{token_hex(4)}"
        self.declare()
        self.bind()

    def declare(self) -> None:
        with self.broker.channel() as channel:
            channel.exchange_declare(self.exchange, "fanout", durable=True, auto_delete=False)

    def bind(self) -> None:
        with self.broker.channel() as channel:
            channel.queue_bind(self.taken, self.exchange)

    def unbind(self) -> None:
        with self.broker.channel() as channel:
            channel.queue_unbind(self.taken, self.exchange)

    def drop_exchange(self) -> None:
        with self.broker.channel() as channel:
            channel.exchange_delete(self.exchange)

    def restore_exchange(self) -> None:
        self.declare()
        self.bind()

    def drop_given(self) -> None:
        self.broker.delete(self.given)

    def restore_given(self) -> None:
        self.broker.queue(self.given, type="quorum")

    def close(self) -> None:
        self.drop_exchange()
        self.broker.delete(self.given, self.taken)


@pytest.fixture
def place(rabbitmq: Queues) -> Iterator[Place]:
    found = Place(rabbitmq)
    yield found
    found.close()


GOES = {
    "the exchange": (Place.drop_exchange, Place.restore_exchange, "output: .*404 NOT_FOUND - no exchange"),
    "its binding": (Place.unbind, Place.bind, "output: no queue takes what is published to exchange .*NO_ROUTE"),
}


@pytest.mark.parametrize("what", GOES)
def test_what_leads_to_a_queue_goes_and_comes_again(place: Place, what: str) -> None:
    drop, restore, said = GOES[what]
    broker = place.broker

    async def run() -> None:
        broker.publish(place.given, FIRST)
        async with copying(source(broker.url, place.given), sink(broker.url, "", exchange=place.exchange)) as copier:
            await copier.copies(100)
            drop(place)
            broker.publish(place.given, LAST)
            await copier.waits(said)
            restore(place)
            await copier.copies(300)

    uvloop.run(run())
    assert broker.bodies(place.taken) == FIRST + LAST


def test_an_output_queue_that_is_deleted(place: Place) -> None:
    """What was in it is gone with it; what comes after is not."""
    broker = place.broker

    async def run() -> None:
        broker.publish(place.given, FIRST)
        async with copying(source(broker.url, place.given), sink(broker.url, place.taken)) as copier:
            await copier.copies(100)
            broker.delete(place.taken)
            broker.publish(place.given, LAST)
            await copier.waits("output: .*(NO_ROUTE|404 NOT_FOUND - no queue)")
            broker.queue(place.taken, type="classic")
            await copier.copies(300)

    uvloop.run(run())
    assert broker.bodies(place.taken) == LAST


@pytest.mark.parametrize("length", [{"max_length": 30}, {"max_length_bytes": 60}])
def test_a_queue_that_is_full(rabbitmq: Queues, length: dict[str, int]) -> None:
    """It rejects; whoever empties it finds each record, and each once."""
    place = Place(rabbitmq, overflow="reject-publish", **length)
    found: list[bytes] = []

    async def run() -> None:
        rabbitmq.publish(place.given, FIRST + LAST)
        async with copying(source(rabbitmq.url, place.given), sink(rabbitmq.url, place.taken)) as copier:
            await copier.waits("output: the broker refused .* messages: a queue is full")
            while len(found) < 300:
                found.extend(await asyncio.to_thread(rabbitmq.bodies, place.taken))
            await copier.copies(300)

    uvloop.run(run())
    assert sorted(found, key=int) == FIRST + LAST
    place.close()


def test_an_input_queue_that_is_deleted_and_made_again(place: Place) -> None:
    """With a batch in flight, whose results are written: its acknowledgement has nowhere to go."""
    broker = place.broker

    async def run() -> None:
        async with copying(source(broker.url, place.given), sink(broker.url, place.taken)) as copier:
            broker.publish(place.given, FIRST)
            await copier.copies(100)
            place.unbind()
            broker.delete(place.taken)
            broker.publish(place.given, LAST)
            await copier.waits("output: ")
            place.drop_given()
            broker.queue(place.taken, type="classic")
            await copier.waits("input: .*404 NOT_FOUND - no queue")
            place.restore_given()
            broker.publish(place.given, FIRST)
            await copier.copies(copier.runner.status().written + 100)

    uvloop.run(run())
    found = broker.bodies(place.taken)
    assert found[-100:] == FIRST
    assert found[:-100] == LAST[: len(found) - 100], "those that were in flight when the rest was deleted"


def test_a_message_that_the_broker_finds_too_large() -> None:
    """It closes the channel at that, and does not say at which: that record is set aside, and none beside it."""
    with serving("rabbitmq", lambda: RabbitMQ(max_message_size="2000")) as broker:
        queue = broker.queue(type="quorum")
        topic = memory.Topic("large")
        memory.add(topic)
        topic.put([Message(f"r{n}", b"x" * 2001 if n in (7, 30) else b"%d" % n) for n in range(50)])

        async def run() -> None:
            inp = memory.MemoryInput(memory.MemorySource(topic="large", ends=False), CONTEXT)
            async with copying(inp, sink(broker.url, queue)) as copier:
                await copier.copies(48)
                said = "it has 2001 bytes, the broker takes 2000 (max_message_size)"
                assert copier.dead() == {"r7": said, "r30": said}

        uvloop.run(run())
        memory.forget("large")
        # what stood before it in its batch was not yet confirmed
        assert list(dict.fromkeys(broker.bodies(queue))) == [b"%d" % n for n in range(50) if n not in (7, 30)]
