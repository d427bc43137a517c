"""Dead letters in a queue, and how they are put back."""

from __future__ import annotations

import asyncio

import pytest
from queuecopy import CONTEXT, connected, rows, sink
from servers.rabbitmq import Queues

from adapters.rabbitmq import RabbitInput, RabbitOutput, RabbitSink, adapter
from gateway.core import letter
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Batch, Credit, DeadLetter, Message, Rows, Token


def test_redrive_puts_a_message_back(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    assert adapter.redrive is not None

    async def run() -> None:
        assert adapter.redrive is not None
        out = adapter.redrive.open(RabbitInput(url=rabbitmq.url, queue=rabbitmq_queue), CONTEXT)
        async with connected(out):
            await out.write(rows(b"1", headers=[(("h", b"v"),)]))

    asyncio.run(run())
    (message,) = rabbitmq.take(rabbitmq_queue)
    assert message.body == b"1"
    assert message.properties["application_headers"] == {"h": "v"}


def test_a_dead_letter_may_be_the_message_as_it_came(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    headers = (("h", b"v"), ("amqp.correlation_id", b"c"), ("amqp.reply_to", b"r"))
    dead = DeadLetter(Message("m", b"\xff", None, headers, 5000), "it is broken", "in", "7", 2, "affine/2")

    async def run() -> None:
        assert adapter.letters is not None
        given = RabbitOutput(url=rabbitmq.url, routing_key=rabbitmq_queue, dead_letters="record")
        async with connected(RabbitSink(given, CONTEXT)) as out:
            await out.write(Rows(Batch(["m"], [letter.encode(dead)]), Token("l", 1)))
        async with connected(adapter.letters(given, CONTEXT, False)) as letters:
            batch, _ = await letters.read(Credit(9, 1 << 20))
            assert letter.decode(batch.values[0]) == dead

    asyncio.run(run())
    (message,) = rabbitmq.take(rabbitmq_queue)
    assert message.body == b"\xff"
    found = message.properties
    assert (found["correlation_id"], found["reply_to"], found["message_id"]) == ("c", "r", "m")
    assert found["application_headers"] == {
        "h": "v", "sluice-reason": "it is broken", "sluice-lane": "in", "sluice-position": "7",
        "sluice-attempts": "2", "sluice-model": "affine/2",
    }  # fmt: skip


def test_letters_are_given_back_and_end_with_the_last(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    async def run() -> None:
        assert adapter.letters is not None
        async with connected(sink(rabbitmq.url, rabbitmq_queue)) as out:
            await out.write(rows(*[b"%d" % n for n in range(50)]))
        given = RabbitOutput(url=rabbitmq.url, routing_key=rabbitmq_queue)
        async with connected(adapter.letters(given, CONTEXT, False)) as letters:
            found: list[bytes] = []
            while (read := await letters.read(Credit(7, 1 << 20))) is not None:
                found += read[0].values
                await letters.ack(read[1])
            assert found == [b"%d" % n for n in range(50)]
        with pytest.raises(InvalidArgument, match="redrive_from: dead letters are taken back from a queue"):
            adapter.letters(RabbitOutput(url=rabbitmq.url, exchange="e"), CONTEXT, False)

    asyncio.run(run())
    assert rabbitmq.depth(rabbitmq_queue) == 0


def test_a_letter_that_comes_back_meanwhile_is_not_given_again(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    """Other processes score on, and what fails again comes to the same queue."""

    async def run() -> None:
        assert adapter.letters is not None
        given = RabbitOutput(url=rabbitmq.url, exchange="e", redrive_from=rabbitmq_queue)
        found: list[bytes | None] = []
        broken = False
        async with connected(sink(rabbitmq.url, rabbitmq_queue)) as out:
            await out.write(rows(*[b"%d" % n for n in range(20)]))
            async with connected(adapter.letters(given, CONTEXT, False)) as letters:
                while (read := await letters.read(Credit(7, 1 << 20))) is not None:
                    found += read[0].values
                    await out.write(rows(*[b"again"] * len(read[0])))
                    if len(found) == 14 and not broken:  # another connection goes on where this one was
                        broken = True
                        await letters.connect()
                        del found[7:]
                    else:
                        await letters.ack(read[1])
        assert found == [b"%d" % n for n in range(20)]

    asyncio.run(run())
    assert set(rabbitmq.bodies(rabbitmq_queue)) == {b"again"}
