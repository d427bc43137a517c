"""Who asks over a queue is answered, and who went away costs nobody else an answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import pytest
from queuecopy import FROM, Copy, connected, rows, running, sink, source, until
from servers.rabbitmq import Queues

from gateway.core.stream import Batch, DataError, Rows, Token


@contextmanager
def asking(broker: Queues, queue: str, reply_to: str, questions: int) -> Iterator[dict[str, bytes]]:
    """py-amqp in a thread of its own, as a plain client: asks, and waits until all is answered."""
    answers: dict[str, bytes] = {}

    def ask() -> None:
        with broker.channel() as channel:
            reply = reply_to or channel.queue_declare(exclusive=True).queue
            channel.basic_consume(
                reply, no_ack=True, callback=lambda m: answers.__setitem__(m.properties["correlation_id"], m.body)
            )
            for n in range(questions):
                asked = amqp.Message(b"%d" % n, reply_to=reply, correlation_id=f"c{n}")
                channel.basic_publish(asked, "", queue)
            while len(answers) < questions:
                channel.connection.drain_events(timeout=20)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        thread.join(30)


@pytest.mark.parametrize("reply_to", ["", "amq.rabbitmq.reply-to"])
def test_who_asks_over_a_queue_is_answered(rabbitmq: Queues, rabbitmq_queue: str, reply_to: str) -> None:
    async def run() -> None:
        copy = Copy(source(rabbitmq.url, rabbitmq_queue), sink(rabbitmq.url, reply=True))
        async with running(copy):
            with asking(rabbitmq, rabbitmq_queue, reply_to, 20) as answers:
                await until(lambda: len(answers) == 20)
            assert answers == {f"c{n}": b"%d" % n for n in range(20)}
        assert copy.troubles == []

    asyncio.run(run())


def test_who_went_away_is_a_data_error_and_the_others_are_answered_once(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    async def run() -> None:
        headers: list[Any] = [(("amqp.reply_to", rabbitmq_queue.encode()),) for _ in range(5)]
        headers[2] = (("amqp.reply_to", b"amq.gen-gone"),)
        async with connected(sink(rabbitmq.url, reply=True)) as out:
            batch = Batch([f"id-{n}" for n in range(5)], [b"%d" % n for n in range(5)], headers=headers)
            with pytest.raises(DataError, match=r"nobody waits for the reply at 'amq\.gen-gone': NO_ROUTE") as error:
                await out.write(Rows(batch, FROM))
            assert error.value.record == 2
            await out.write(Rows(batch.take([0, 1, 3, 4]), FROM))
            # also where all of them call themselves the same
            alike = Batch(["1"] * 5, batch.values, headers=headers)
            with pytest.raises(DataError, match=r"amq\.gen-gone") as error:
                await out.write(Rows(alike, Token("lane", 1, 2)))
            assert error.value.record == 2
            with pytest.raises(DataError, match="names no reply_to") as error:
                await out.write(rows(b"1", b"2", headers=[headers[0], ()]))
            assert error.value.record == 1

    asyncio.run(run())
    assert rabbitmq.bodies(rabbitmq_queue) == [b"0", b"1", b"3", b"4"] * 2
