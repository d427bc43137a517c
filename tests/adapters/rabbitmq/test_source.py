from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from queuecopy import WIDE, connected, source, until
from servers.proxy import Proxy
from servers.rabbitmq import Queues

from adapters.rabbitmq import RabbitInput, RabbitSource
from adapters.rabbitmq.source import HIGH
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Context, Credit, Fenced, Transient


def test_what_a_message_brings(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    headers = {"traceparent": "00-1-2-01", "n": 7}
    rabbitmq.publish(
        rabbitmq_queue, [b"1"], message_id="m", correlation_id="c", reply_to="r", application_headers=headers
    )
    rabbitmq.publish(rabbitmq_queue, [b""])

    async def run() -> None:
        async with connected(source(rabbitmq.url, rabbitmq_queue, key="routing_key")) as inp:
            await until(lambda: len(inp._inbox) == 2)
            batch, _ = await inp.read(WIDE)
            assert batch.values == [b"1", b""]
            assert batch.ids[0] == "m"
            assert batch.ids[1].endswith("/2")
            assert batch.keys == [rabbitmq_queue.encode()] * 2
            assert set(batch.headers[0]) == {
                ("traceparent", b"00-1-2-01"), ("n", b"7"), ("amqp.correlation_id", b"c"), ("amqp.reply_to", b"r")
            }  # fmt: skip
            assert batch.headers[1] == ()

    asyncio.run(run())


def test_ids_are_stable_only_where_that_is_said(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    rabbitmq.publish(rabbitmq_queue, [b"1"], message_id="m")
    rabbitmq.publish(rabbitmq_queue, [b"2"])

    async def run() -> None:
        assert not source(rabbitmq.url, rabbitmq_queue).source.stable_ids
        seen = []
        for _ in range(2):
            async with connected(source(rabbitmq.url, rabbitmq_queue, id="message_id")) as inp:
                assert inp.source.stable_ids
                await until(lambda inp=inp: len(inp._inbox) == 2)
                batch, _ = await inp.read(WIDE)
                assert list(batch.faults) == [1]
                assert "no message_id" in batch.faults[1]
                seen.append(batch.ids)
        assert seen[0][0] == seen[1][0] == "m"
        assert seen[0][1] != seen[1][1]

    asyncio.run(run())


def test_what_arrived_is_given_at_once_and_the_prefetch_bounds_it(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    rabbitmq.publish(rabbitmq_queue, [b"%d" % n for n in range(30)])

    async def run() -> None:
        async with connected(source(rabbitmq.url, rabbitmq_queue, prefetch=10)) as inp:
            await until(lambda: len(inp._inbox) == 10)
            first, one = await inp.read(Credit(4, 1 << 20))
            second, two = await inp.read(WIDE)
            assert [len(first), len(second)] == [4, 6]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(inp.read(WIDE), 0.2)
            assert (await inp.lag())[rabbitmq_queue].records == 20
            await inp.ack(two)
            await inp.ack(one)  # it is done with, too
            await until(lambda: len(inp._inbox) == 10)

    asyncio.run(run())


def test_large_messages_do_not_fill_the_memory(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    large = bytes(10 << 20)
    rabbitmq.publish(rabbitmq_queue, [large] * 12)

    async def run() -> None:
        async with connected(source(rabbitmq.url, rabbitmq_queue)) as inp:
            await until(lambda: inp._held)
            assert (await inp.lag())[rabbitmq_queue].records is None
            assert inp._waiting < HIGH + 2 * len(large)
            count = 0
            while count < 12:
                batch, token = await inp.read(Credit(1000, 1 << 20))
                assert batch.values == [large]
                count += 1
                await inp.ack(token)

    asyncio.run(run())


def test_a_queue_that_is_deleted_is_waited_for(rabbitmq: Queues) -> None:
    queue = rabbitmq.queue(type="classic")

    async def run() -> None:
        async with connected(source(rabbitmq.url, queue)) as inp:
            rabbitmq.publish(queue, [b"1"])
            _, token = await inp.read(WIDE)
            waiting = asyncio.create_task(inp.read(WIDE))
            await asyncio.to_thread(rabbitmq.delete, queue)
            with pytest.raises(Transient, match="its queue was deleted"):
                await waiting
            with pytest.raises(Transient):
                await inp.ack(token)
            with pytest.raises(Transient, match="404 NOT_FOUND - no queue"):
                await inp.connect()
            await asyncio.to_thread(rabbitmq.queue, queue, type="classic")
            await inp.connect()
            with pytest.raises(Fenced, match="its messages come again"):
                await inp.ack(token)
            rabbitmq.publish(queue, [b"2"])
            batch, _ = await inp.read(WIDE)
            assert batch.values == [b"2"]
        await asyncio.to_thread(rabbitmq.delete, queue)

    asyncio.run(run())


def test_it_declares_what_it_is_told_to(rabbitmq: Queues) -> None:
    async def run() -> None:
        name = "t-declared"
        settings = {"declare": True, "dead_letter_exchange": "dlx", "delivery_limit": 3}
        async with connected(source(rabbitmq.url, name, **settings)) as inp:
            await asyncio.to_thread(rabbitmq.publish, name, [b"1"])
            assert (await inp.read(WIDE))[0].values == [b"1"]
        with pytest.raises(Transient, match="406 PRECONDITION_FAILED"):
            await source(rabbitmq.url, name, declare=True, queue_type="classic").connect()
        await asyncio.to_thread(rabbitmq.delete, name)

    asyncio.run(run())


def test_the_next_node_is_tried(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    async def run() -> None:
        inp = source(("amqp://127.0.0.1:1/", rabbitmq.url), rabbitmq_queue)
        with pytest.raises(Transient, match=r"127.0.0.1:1 cannot be connected to"):
            await inp.connect()
        async with connected(inp):
            pass

    asyncio.run(run())


@pytest.mark.parametrize(
    ("change", "message"),
    [(("guest:guest", "guest:wrong"), "ACCESS_REFUSED"), ((":{port}/", ":{port}/nowhere"), "vhost nowhere not found")],
)
def test_a_login_that_is_refused(rabbitmq: Queues, change: tuple[str, str], message: str) -> None:
    port = rabbitmq.url.rpartition(":")[2].partition("/")[0]
    url = rabbitmq.url.replace(*(part.format(port=port) for part in change))

    async def run() -> None:
        inp = source(url, "q")
        with pytest.raises(Transient, match=message) as error:
            await inp.connect()
        assert "wrong" not in error.value.message
        await inp.close()

    asyncio.run(run())


def test_a_password_of_a_file(rabbitmq: Queues, rabbitmq_queue: str, tmp_path: Path) -> None:
    url = rabbitmq.url.replace("guest:guest", "guest:wrong")
    inp = source(url, rabbitmq_queue, password_file=str(tmp_path / "password"))

    async def run() -> None:
        with pytest.raises(Transient, match=r"password_file: .* cannot be read"):
            await inp.connect()
        (tmp_path / "password").write_text("guest\n")
        async with connected(inp):
            pass

    asyncio.run(run())


def test_a_broker_that_falls_silent_is_noticed(rabbitmq: Queues, rabbitmq_queue: str) -> None:
    async def run() -> None:
        async with Proxy(rabbitmq.url) as proxy:
            inp = source(proxy.url, rabbitmq_queue, heartbeat_seconds=1, connect_seconds=1)
            async with connected(inp):
                with pytest.raises(TimeoutError):  # heartbeats keep it alive meanwhile
                    await asyncio.wait_for(inp.read(WIDE), 3)
                proxy.silent()
                with pytest.raises(Transient, match=r"was silent for \d s|is lost"):
                    await asyncio.wait_for(inp.read(WIDE), 20)
                with pytest.raises(Transient, match="did not answer within 1 s"):
                    await inp.connect()
                proxy.speak()
                await inp.connect()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak AMQP"),
        (b"AMQP\0\1\0\0", "another version of AMQP"),
        (b"\1\0\0\0\0\0\4\0\x0a\0\x0a\xce", "cannot be read"),
        (b"\1\0\0\0\0\0\4\0\x0a\0\x0a\xff", "does not speak AMQP"),
        (b"\3\0\1\0\0\0\1a\xce", "cannot be read"),
        (b"\1\0\1\x7f\xff\xff\xff", "did not answer"),
        (b"", "is lost"),
    ],
)
def test_a_server_that_is_no_broker(said: bytes, message: str) -> None:
    async def run() -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(8)
            writer.write(said)
            if said:
                await reader.read()
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            inp = source(f"amqp://127.0.0.1:{port}/", "q", connect_seconds=1)
            with pytest.raises(Transient, match=message):
                await inp.connect()
            await inp.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "url", ["http://a/", "amqp:///x", "amqp://a:b/", "amqp://a:99999/", "amqp://u:secret@a:5/?heartbeat=1", ()]
)
def test_an_address_that_cannot_be(url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"rabbitmq\.url") as error:
        RabbitSource(RabbitInput(url=url, queue="q"), Context("p"))
    assert "secret" not in error.value.message
