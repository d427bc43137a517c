"""A broker that is short of disk or memory while a stream runs: it waits, says why, and loses and repeats nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from copying import Copier, copying
from queuecopy import CONTEXT, connected, sink
from servers.rabbitmq import RabbitMQ

from adapters import memory
from gateway.core.stream import Batch, Message, Rows, Token, Transient

SHORT = {
    "disk": (("set_disk_free_limit", "900000GB"), ("set_disk_free_limit", "1MB")),
    "memory": (("set_vm_memory_high_watermark", "absolute", "1"), ("set_vm_memory_high_watermark", "0.6")),
}


@pytest.fixture
def queue(own_rabbitmq: RabbitMQ) -> Iterator[str]:
    name = own_rabbitmq.queue(type="classic")
    yield name
    for _, relief in SHORT.values():
        own_rabbitmq.control(*relief)
    own_rabbitmq.delete(name)


@pytest.fixture
def given() -> Iterator[memory.Topic]:
    topic = memory.Topic("given")
    memory.add(topic)
    yield topic
    memory.forget("given")


def put(topic: memory.Topic, start: int, stop: int) -> None:
    topic.put([Message(f"r{n}", b"%d" % n) for n in range(start, stop)])


@asynccontextmanager
async def streaming(broker: RabbitMQ, queue: str) -> AsyncIterator[Copier]:
    """What the broker has not confirmed in time is given up soon, and a lane that stands still; but not
    where the broker says why."""
    inp = memory.MemoryInput(memory.MemorySource(topic="given", ends=False), CONTEXT)
    async with copying(inp, sink(broker.url, queue, confirm_seconds=0.2, heartbeat_seconds=1), stalled=0.6) as copier:
        yield copier


@pytest.mark.parametrize("what", SHORT)
def test_publishing_pauses_and_goes_on(own_rabbitmq: RabbitMQ, queue: str, given: memory.Topic, what: str) -> None:
    async def run() -> None:
        async with streaming(own_rabbitmq, queue) as copier:
            put(given, 0, 100)
            await copier.copies(100)
            await asyncio.to_thread(own_rabbitmq.control, *SHORT[what][0])
            put(given, 100, 300)
            await copier.waits(f"^output: .* takes no messages: low on {what}")
            retries = copier.runner.status().retries
            await asyncio.sleep(2.5)  # longer than anything is given up after
            found = copier.runner.status()
            assert (found.state, found.written, found.retries) == ("waiting", 100, retries)
            await asyncio.to_thread(own_rabbitmq.control, *SHORT[what][1])
            await copier.copies(300)
            assert copier.runner.status().reconnects == 0

    uvloop.run(run())
    assert own_rabbitmq.bodies(queue) == [b"%d" % n for n in range(300)]


def test_a_connection_that_is_made_meanwhile_waits_too(own_rabbitmq: RabbitMQ, queue: str, given: memory.Topic) -> None:
    """It is told only when it publishes."""

    async def run() -> None:
        short, relieved = SHORT["memory"]
        await asyncio.to_thread(own_rabbitmq.control, *short)
        async with streaming(own_rabbitmq, queue) as copier:
            put(given, 0, 50)
            await copier.waits("takes no messages: low on memory")
            await asyncio.to_thread(own_rabbitmq.control, "close_all_connections", "an upgrade")
            await copier.until(lambda: copier.runner.status().reconnects == 1, "another connection")
            await copier.waits("takes no messages: low on memory")
            await asyncio.to_thread(own_rabbitmq.control, *relieved)
            await copier.copies(50)

    uvloop.run(run())
    # what was published on the connection that was closed may be there
    assert list(dict.fromkeys(own_rabbitmq.bodies(queue))) == [b"%d" % n for n in range(50)]


def test_several_lanes_wait_and_a_lost_connection_ends_it(own_rabbitmq: RabbitMQ, queue: str) -> None:
    def rows(lane: int, size: int = 1) -> Rows:
        return Rows(Batch([f"{lane}-{n}" for n in range(9)], [b"%d" % lane * size] * 9), Token(str(lane), 1, 1))

    async def run() -> None:
        async with connected(sink(own_rabbitmq.url, queue)) as out:
            await out.write(rows(0))
            await asyncio.to_thread(own_rabbitmq.control, *SHORT["memory"][0])
            # more than sockets and buffers hold
            writes: list[Any] = [asyncio.create_task(out.write(rows(n, 500_000))) for n in (1, 2)]
            await until_held(out)
            writes.append(asyncio.create_task(out.write(rows(3))))
            await asyncio.to_thread(own_rabbitmq.kill)
            for found in await asyncio.gather(*writes, return_exceptions=True):
                assert isinstance(found, Transient), found
            assert out.held == ""
            await asyncio.to_thread(own_rabbitmq.start)  # the limit was of that life
            await out.connect()
            await asyncio.gather(*[out.write(rows(n)) for n in (1, 2, 3)])

    async def until_held(out: Any) -> None:
        async with asyncio.timeout(20):
            while "low on memory" not in out.held:  # noqa: ASYNC110 - it is asked, and tells nobody
                await asyncio.sleep(0.01)

    uvloop.run(run())
    assert sorted(own_rabbitmq.bodies(queue)) == [b"0"] * 9 + [b"1"] * 9 + [b"2"] * 9 + [b"3"] * 9
