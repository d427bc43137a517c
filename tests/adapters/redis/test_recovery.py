"""Groups and servers that go away and come back."""

from __future__ import annotations

import asyncio
import logging

import pytest
import uvloop
from queuecopy import Copy, connected, until
from queuecopy import running as copying
from redis_sides import numbers, read, sink, source
from servers.fixtures import serving
from servers.redis import Redis

from gateway.core.stream import Credit, Transient


def test_a_group_that_is_lost_is_made_again_and_that_is_told(
    own_redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    own_redis.add("lost", [b"1", b"2"])

    async def test() -> None:
        async with connected(source(own_redis, "lost", start="latest")) as found:
            own_redis.add("lost", [b"3"])
            _, tokens = await read(found, 1)
            with own_redis.client() as client:
                client.flushall()
            with pytest.raises(Transient, match=r"NOGROUP.*is made again"):
                await found.ack(tokens[0])
            with pytest.raises(Transient, match=r"NOGROUP.*is made again"):
                await read(found, 1)
            own_redis.add("lost", [b"4"])
            assert "was lost" not in caplog.text
            await found.connect()
            assert (await read(found, 1))[0] == [b"4"]

    with caplog.at_level(logging.WARNING):
        uvloop.run(test())
    assert "the consumer group 'p' was lost, and its position with it" in caplog.text
    own_redis.delete("lost")


def test_a_server_that_is_killed_and_one_that_is_silent(own_redis: Redis) -> None:
    name = own_redis.name()

    async def test() -> None:
        inp, out = source(own_redis, name, timeout_seconds=1.0), sink(own_redis, name, timeout_seconds=1.0)
        async with copying(Copy(inp, out, Credit(50, 1 << 20))) as copy:
            for turn in range(4):
                await asyncio.to_thread(own_redis.add, name, numbers(1000 * turn + 1000, 1000 * turn))
                await until(lambda turn=turn: len(copy.done) > 1000 * turn, copy)
                if turn % 2:
                    own_redis.pause()
                    before = len(copy.troubles)
                    await until(lambda before=before: len(copy.troubles) > before, copy)
                    own_redis.resume()
                else:
                    await asyncio.to_thread(own_redis.kill)
                    await asyncio.to_thread(own_redis.start)
            await until(
                lambda: own_redis.pending(name, "p") == [] and len(own_redis.bodies(f"{name}-out")) == 4000, copy
            )
        assert copy.troubles

    uvloop.run(test())
    assert sorted(own_redis.bodies(f"{name}-out"), key=int) == numbers(4000)
    own_redis.delete(name, f"{name}-out")


class Forgetful(Redis):
    """Keeps what it had when it was last told to save."""

    def prepare(self) -> None:
        super().prepare()
        self.options = ("--appendonly", "no")


def test_what_a_server_forgets_it_forgets_of_both() -> None:
    """Results and acknowledgements: those entries come again, and are not there twice."""
    with serving("redis", Forgetful) as server:
        server.add("s", numbers(3000))
        with server.client() as client:
            client.save()

        async def test() -> None:
            copy = Copy(source(server, "s"), sink(server, "s"), Credit(50, 1 << 20))
            async with copying(copy):
                for _ in range(3):
                    await until(lambda: len(server.bodies("s-out")) > 500, copy)
                    with server.client() as client:
                        client.save()
                    written = len(server.bodies("s-out"))
                    await until(lambda written=written: len(server.bodies("s-out")) > min(written, 2999), copy)
                    await asyncio.to_thread(server.kill)
                    await asyncio.to_thread(server.start)
                await until(lambda: len(server.bodies("s-out")) >= 3000, copy)
                await until(lambda: server.pending("s", "p") == [], copy)
            assert len(copy.troubles) >= 3

        uvloop.run(test())
        assert sorted(server.bodies("s-out"), key=int) == numbers(3000)
