"""What a server refuses, and what is said of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop
from queuecopy import connected
from redis_sides import CONTEXT, WIDE, sink, source
from servers.redis import Redis, Streams

from adapters.redis.settings import RedisInput, RedisOutput
from adapters.redis.sink import RedisSink
from adapters.redis.source import RedisSource
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Batch, Rows, Token, Transient


@asynccontextmanager
async def refused(out: RedisSink, *says: str) -> AsyncIterator[None]:
    async with connected(out):
        yield
        with pytest.raises(Transient) as error:
            await out.write(Rows(Batch(["1"], [b"x" * 1000]), Token("l", 1, 1)))
        for text in says:
            assert text in error.value.message, error.value.message


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("maxmemory", "1", ("OOM", "make room, or raise its maxmemory")),
        ("min-replicas-to-write", "1", ("NOREPLICAS",)),
        ("replicaof", "127.0.0.1 1", ("READONLY", "name the primary in `url`")),
    ],
)
def test_a_server_that_takes_nothing(own_redis: Redis, setting: str, value: str, says: tuple[str, ...]) -> None:
    name = own_redis.name()

    async def test() -> None:
        with own_redis.client() as client:
            old = client.config_get(setting)[setting] if setting != "replicaof" else ""
            async with refused(sink(own_redis, name), f"Redis stream '{name}-out'", *says[-1:]):
                if setting == "replicaof":
                    client.replicaof(*value.split())
                else:
                    client.config_set(setting, value)
            if setting == "replicaof":
                client.replicaof("NO", "ONE")
            else:
                client.config_set(setting, old)
        async with connected(sink(own_redis, name)) as out:
            await out.write(Rows(Batch(["1"], [b"1"]), Token("l", 1, 1)))

    uvloop.run(test())
    assert own_redis.bodies(f"{name}-out") == [b"1"]
    own_redis.delete(f"{name}-out")


def test_a_server_that_may_forget(own_redis: Redis) -> None:
    async def test() -> None:
        async with connected(sink(own_redis, "s", fsync=True)):
            pass
        with own_redis.client() as client:
            client.config_set("appendfsync", "everysec")
        out = sink(own_redis, "s", fsync=True)
        with pytest.raises(Transient, match=r"has appendonly yes, appendfsync everysec$"):
            await out.connect()
        await out.close()
        async with connected(sink(own_redis, "s")):
            pass
        with own_redis.client() as client:
            client.config_set("appendfsync", "always")

    uvloop.run(test())


def test_a_user_who_may_not(own_redis: Redis) -> None:
    with own_redis.client() as client:
        client.acl_setuser("ann", enabled=True, passwords=["+se:c@ret"], keys=["s"], commands=["+@all", "-xadd"])
        client.acl_setuser("bob", enabled=True, passwords=["+x"], keys=["other"], commands=["+@all"])
    here = f"127.0.0.1:{own_redis.port}"

    async def test() -> None:
        async with refused(
            RedisSink(RedisOutput(url=f"redis://ann:se%3Ac%40ret@{here}", stream="s"), CONTEXT),
            "can't run this command",
            "let this user",
        ):
            pass
        # the right to acknowledge is looked at before a result is written
        with own_redis.client() as client:
            client.acl_setuser("ann", enabled=True, commands=["+xadd", "-xack"])
        own_redis.add("s", [b"1"])
        ann = f"redis://ann:se%3Ac%40ret@{here}"
        given, told = RedisInput(url=ann, stream="s"), RedisOutput(url=ann, stream="s")
        async with connected(RedisSource(given, CONTEXT)) as found, connected(RedisSink(told, CONTEXT)) as out:
            batch, token = await found.read(WIDE)
            with pytest.raises(Transient, match="may not run 'xack' on s: its ACL has to"):
                await out.write(Rows(batch, token))
        assert own_redis.bodies("s") == [b"1"]
        with pytest.raises(Transient) as wrong:
            await RedisSink(RedisOutput(url=f"redis://ann:wr0ng@{here}", stream="s"), CONTEXT).connect()
        assert "wr0ng" not in wrong.value.message
        assert "invalid username-password pair" in wrong.value.message
        async with connected(RedisSource(RedisInput(url=f"redis://bob:x@{here}", stream="s"), CONTEXT)) as found:
            with pytest.raises(Transient, match="its ACL has to let this user do that"):
                await found.read(WIDE)

    uvloop.run(test())


@pytest.mark.parametrize(
    "url",
    [
        "http://ann:secret@h",
        "redis://ann:secret@h:x",
        "redis://ann:secret@h/a",
        "redis://ann:secret@/1",
        "redis://ann:secret@[h",
        "redis://h?password=secret",
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^redis\.url: '") as error:
        source(Streams(url), "s")
    assert "secret" not in error.value.message
