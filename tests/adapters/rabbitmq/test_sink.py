from __future__ import annotations

import asyncio
from typing import Any

import pytest
from queuecopy import FROM, WIDE, connected, rows, sink, source, until
from servers.proxy import Proxy
from servers.rabbitmq import Queues

from gateway.core import letter
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Batch, DataError, DeadLetter, Message, Rows, Token, Transient


def test_messages_carry_ids_headers_and_are_persistent(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    async def run() -> None:
        async with connected(sink(rabbitmq.url, rabbitmq_queue, content_type="application/json")) as out:
            headers = [(("sluice-version", b"3"), ("amqp.correlation_id", b"c"), ("bin", b"\xff"))]
            await out.write(Rows(Batch(["a"], [b"1"], headers=headers, timestamps=[1_700_000_000_000]), FROM))

    asyncio.run(run())
    (message,) = rabbitmq.take(rabbitmq_queue)
    found = message.properties
    assert found["message_id"] == "a"
    assert found["correlation_id"] == "c"
    assert found["delivery_mode"] == 2
    assert found["content_type"] == "application/json"
    assert found["application_headers"]["sluice-version"] == "3"
    assert set(found["application_headers"]) == {"sluice-version", "bin"}
    assert found["timestamp"] is not None


def test_bodies_of_every_size(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    bodies = [b"", b"x", b"y" * 131064, b"z" * 131065, b"w" * 5_000_000]

    async def run() -> None:
        async with connected(sink(rabbitmq.url, rabbitmq_queue)) as out:
            await out.write(rows(*bodies))
        async with connected(source(rabbitmq.url, rabbitmq_queue)) as inp:
            await until(lambda: len(inp._inbox) == len(bodies))
            assert (await inp.read(WIDE))[0].values == bodies

    asyncio.run(run())


def test_several_lanes_write_at_the_same_time(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    async def run() -> None:
        async with connected(sink(rabbitmq.url, rabbitmq_queue)) as out:
            writes = [
                out.write(Rows(Batch([f"{k}-{n}" for n in range(700)], [b"x" * 700] * 700), Token(str(k), 1, 1)))
                for k in range(6)
            ]
            await asyncio.gather(*writes)
            assert out._open == {}

    asyncio.run(run())
    assert rabbitmq.depth(rabbitmq_queue) == 4200


def test_results_that_no_queue_takes_wait_for_one(rabbitmq: Queues) -> None:
    async def run() -> None:
        with pytest.raises(Transient, match="NOT_FOUND - no queue 't-none'"):
            await sink(rabbitmq.url, "t-none").connect()
        queue = await asyncio.to_thread(rabbitmq.queue, type="classic")
        async with connected(sink(rabbitmq.url, queue)) as out:
            await out.write(rows(b"1"))
            await asyncio.to_thread(rabbitmq.delete, queue)
            with pytest.raises(Transient, match=f"no queue takes what is published .*'{queue}': NO_ROUTE"):
                await out.write(rows(b"2", b"3"))
            await asyncio.to_thread(rabbitmq.queue, queue, type="classic")
            await out.write(rows(b"2", b"3"))
        assert await asyncio.to_thread(rabbitmq.bodies, queue) == [b"2", b"3"]
        await asyncio.to_thread(rabbitmq.delete, queue)

    asyncio.run(run())


def test_a_full_queue_is_waited_for_and_nothing_is_published_twice(rabbitmq: Queues) -> None:
    queue = rabbitmq.queue(type="classic", max_length=3, overflow="reject-publish")

    async def run() -> None:
        async with connected(sink(rabbitmq.url, queue)) as out:
            with pytest.raises(Transient, match="refused 2 messages: a queue is full"):
                await out.write(rows(*[b"%d" % n for n in range(5)]))
            assert await asyncio.to_thread(rabbitmq.bodies, queue) == [b"0", b"1", b"2"]
            await out.write(rows(*[b"%d" % n for n in range(5)]))
            assert await asyncio.to_thread(rabbitmq.bodies, queue) == [b"3", b"4"]
            await out.write(rows(b"0"))  # the next batch is another one
            assert await asyncio.to_thread(rabbitmq.bodies, queue) == [b"0"]

    asyncio.run(run())
    rabbitmq.delete(queue)


def test_an_exchange(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    with rabbitmq.channel() as channel:
        channel.exchange_declare("t-ex", "topic", durable=True, auto_delete=False)
        channel.queue_bind(rabbitmq_queue, "t-ex", "a.*")

    async def run() -> None:
        async with connected(sink(rabbitmq.url, "a.b", exchange="t-ex")) as out:
            await out.write(rows(b"1"))
        async with connected(sink(rabbitmq.url, "no.b", exchange="t-ex")) as out:
            with pytest.raises(Transient, match=r"exchange 't-ex', routing key 'no\.b': NO_ROUTE"):
                await out.write(rows(b"1"))
        with pytest.raises(Transient, match="no exchange 't-nowhere'"):
            await sink(rabbitmq.url, "a", exchange="t-nowhere").connect()

    asyncio.run(run())
    assert rabbitmq.bodies(rabbitmq_queue) == [b"1"]
    with rabbitmq.channel() as channel:
        channel.exchange_delete("t-ex")


def test_headers_that_no_frame_holds_are_that_records_error(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    async def run() -> None:
        async with connected(sink(rabbitmq.url, rabbitmq_queue)) as out:
            headers = [(), (("large", bytes(200_000)),), ()]
            with pytest.raises(DataError, match="its headers have 200") as error:
                await out.write(rows(b"1", b"2", b"3", headers=headers))
            assert error.value.record == 1
            await out.write(rows(b"3", names=["id-2"]))

    asyncio.run(run())
    assert set(rabbitmq.bodies(rabbitmq_queue)) == {b"1", b"3"}


def test_a_connection_that_breaks_before_the_confirm(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    async def run() -> None:
        async with Proxy(rabbitmq.url) as proxy, connected(sink(proxy.url, rabbitmq_queue)) as out:
            proxy.cut = lambda data: "after" if b"payload" in data else ""
            with pytest.raises(Transient, match="is lost"):
                await out.write(rows(b"payload"))
            with pytest.raises(Transient):
                await out.write(rows(b"payload"))
            proxy.cut = lambda data: ""
            await out.connect()
            await out.write(rows(b"payload"))

    asyncio.run(run())
    # the first one arrived: at least once
    assert rabbitmq.bodies(rabbitmq_queue) == [b"payload", b"payload"]


def test_a_confirm_that_does_not_come(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    async def run() -> None:
        async with Proxy(rabbitmq.url) as proxy, connected(sink(proxy.url, rabbitmq_queue, confirm_seconds=0.5)) as out:
            proxy.silent()
            with pytest.raises(Transient, match="has not confirmed a batch within"):
                await out.write(rows(b"1"))
            with pytest.raises(Transient, match="not connected"):
                await out.write(rows(b"1"))
            proxy.speak()
            await out.connect()
            await out.write(rows(b"1"))

    asyncio.run(run())
    assert rabbitmq.bodies(rabbitmq_queue) == [b"1"]


def test_a_write_that_is_cancelled_leaves_no_trace(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    async def run() -> None:
        async with connected(sink(rabbitmq.url, rabbitmq_queue)) as out:
            for turns in range(5):
                task = asyncio.create_task(out.write(rows(*[b"x" * 1000] * 2000)))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await out.write(rows(b"last", names=["last"]))
            await until(lambda: not out._open)

    asyncio.run(run())
    assert rabbitmq.bodies(rabbitmq_queue)[-1] == b"last"


def test_who_asked_in_vain_is_told_and_letters_of_those_who_went_away_are_kept(
    rabbitmq: Queues, rabbitmq_queue: str
) -> None:
    asker = rabbitmq.queue(type="classic")
    askers = [asker, "amq.gen-gone", "", asker, "amq.gen-gone-too"]
    headers = [(("amqp.reply_to", name.encode()),) if name else () for name in askers]
    dead = [DeadLetter(Message(f"m{n}", b"%d" % n, None, headers[n]), "broken", "l", "") for n in range(5)]

    async def run() -> None:
        out = sink(rabbitmq.url, rabbitmq_queue, reply=True, dead_letters="record")
        async with connected(out):
            await out.write(Rows(Batch([f"m{n}" for n in range(5)], [letter.encode(one) for one in dead]), FROM))

    asyncio.run(run())
    told = rabbitmq.take(asker)
    assert [message.body for message in told] == [b"0", b"3"]
    assert told[0].properties["application_headers"]["sluice-reason"] == "broken"
    assert sorted(rabbitmq.bodies(rabbitmq_queue)) == [b"1", b"2", b"4"]
    rabbitmq.delete(asker)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "neither exchange, routing_key nor reply"),
        ({"exchange": "e", "declare": True}, r"rabbitmq\.declare is for a queue"),
        ({"reply": True, "dead_letters": "record"}, "where are dead letters to go whose asker is gone"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        sink("amqp://a/", **settings)
