"""A broker that is killed, restarted, blocked, silent: each message is answered. On uvloop, as streams run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator

import pytest
import uvloop
from queuecopy import Copy, connected, running, sink, source, until
from servers.fixtures import serving
from servers.proxy import Proxy
from servers.rabbitmq import RabbitMQ

from gateway.core.stream import Credit, Fenced, Transient

MANY = [b"%d" % n for n in range(1500)]


@pytest.fixture
def queues(own_rabbitmq: RabbitMQ, kind: str) -> Iterator[tuple[str, str]]:
    names = own_rabbitmq.queue(type=kind), own_rabbitmq.queue(type=kind)
    yield names
    own_rabbitmq.delete(*names)


@pytest.mark.parametrize(("kind", "end"), [("classic", RabbitMQ.kill), ("quorum", RabbitMQ.stop)])
def test_ended_in_the_middle(own_rabbitmq: RabbitMQ, queues: tuple[str, str], end: Callable[[RabbitMQ], None]) -> None:
    given, taken = queues
    own_rabbitmq.publish(given, MANY)

    async def run() -> None:
        copy = Copy(source(own_rabbitmq.url, given), sink(own_rabbitmq.url, taken), Credit(50, 1 << 20))
        async with running(copy):
            await until(lambda: len(copy.done) >= 300, copy)
            await asyncio.to_thread(end, own_rabbitmq)
            assert len(copy.done) < len(MANY)
            await asyncio.to_thread(own_rabbitmq.start)
            await until(lambda: copy.done == set(MANY), copy)
        assert copy.troubles

    uvloop.run(run())
    # some twice: the broker does not confirm acknowledgements, and forgets those that were not on its disk
    assert set(own_rabbitmq.bodies(taken)) == set(MANY)
    assert own_rabbitmq.depth(given) == 0


@pytest.mark.parametrize("kind", ["classic"])
def test_a_broker_that_stands_still_is_given_up(own_rabbitmq: RabbitMQ, queues: tuple[str, str]) -> None:
    own_rabbitmq.publish(queues[0], MANY[:100])

    async def run() -> None:
        inp = source(own_rabbitmq.url, queues[0], heartbeat_seconds=1, connect_seconds=2)
        out = sink(own_rabbitmq.url, queues[1], heartbeat_seconds=1, connect_seconds=2)
        copy = Copy(inp, out, Credit(1, 1 << 20))
        async with running(copy):
            await until(lambda: len(copy.done) >= 5, copy)
            own_rabbitmq.pause()
            await until(lambda: any("silent" in trouble or "is lost" in trouble for trouble in copy.troubles), copy)
            own_rabbitmq.resume()
            await until(lambda: len(copy.done) == 100, copy)

    uvloop.run(run())
    assert set(own_rabbitmq.bodies(queues[1])) == set(MANY[:100])


@pytest.mark.parametrize("kind", ["classic"])
def test_connections_that_are_cut_anywhere(own_rabbitmq: RabbitMQ, queues: tuple[str, str]) -> None:
    """One in thirty packets of ours never arrives, or its answer does not."""
    given, taken = queues
    chance = random.Random(7)
    own_rabbitmq.publish(given, MANY)

    def cut(data: bytes) -> str:
        return chance.choice(["before", "after"]) if chance.random() < 0.03 else ""

    async def run() -> None:
        async with Proxy(own_rabbitmq.url) as to_input, Proxy(own_rabbitmq.url) as to_output:
            to_input.cut = to_output.cut = cut
            copy = Copy(source(to_input.url, given), sink(to_output.url, taken), Credit(7, 1 << 20))
            async with running(copy):
                await until(lambda: copy.done == set(MANY), copy)
            assert len(copy.troubles) >= 3

    uvloop.run(run())
    assert set(own_rabbitmq.bodies(taken)) == set(MANY)


class Impatient(RabbitMQ):
    """Closes a channel that has not acknowledged something for two seconds; looks twice a second."""

    advanced = "[{rabbit, [{consumer_timeout, 2000}, {channel_tick_interval, 500}]}]."


def test_what_is_not_acknowledged_in_time_comes_again() -> None:
    with serving("rabbitmq", Impatient) as broker:
        assert isinstance(broker, Impatient)
        queue = broker.queue(type="quorum")
        broker.publish(queue, [b"1"])

        async def run() -> None:
            async with connected(source(broker.url, queue)) as inp:
                first = await inp.read(Credit(1, 1 << 20))
                with pytest.raises(Transient, match="406 PRECONDITION_FAILED - delivery acknowledgement"):
                    await asyncio.wait_for(inp.read(Credit(1, 1 << 20)), 40)
                await inp.connect()
                with pytest.raises(Fenced, match="its messages come again"):
                    await inp.ack(first[1])
                again = await inp.read(Credit(1, 1 << 20))
                assert again[0].values == [b"1"]
                await inp.ack(again[1])

        uvloop.run(run())
