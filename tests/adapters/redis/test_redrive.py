"""Dead letters, read back and put back."""

from __future__ import annotations

import uvloop
from queuecopy import connected
from redis_sides import CONTEXT, WIDE, source
from servers.redis import Streams

from adapters.redis import adapter
from adapters.redis.letters import RedisLetters
from adapters.redis.settings import RedisInput, RedisOutput
from gateway.core import letter
from gateway.core.stream import DeadLetter, Message, Rows, Token


def test_dead_letters_are_given_back_once(redis: Streams, stream: str) -> None:
    settings = RedisOutput(url=redis.url, stream=f"{stream}-out", dead_letters=f"{stream}-dead")
    letters = [DeadLetter(Message(f"{stream}/1-{n}", b"%d" % n), "broken", stream, "") for n in range(3)]
    redis.add(f"{stream}-dead", [letter.encode(found) for found in letters])

    async def test() -> None:
        async with connected(RedisLetters(settings, CONTEXT, True)) as found:
            redis.add(f"{stream}-dead", [b"one that came later"])
            batch, token = await found.read(WIDE)
            assert [letter.decode(value or b"") for value in batch.values] == letters
            await found.ack(token)
            assert await found.read(WIDE) is None
        assert redis.bodies(f"{stream}-dead") == [b"one that came later"]
        async with connected(RedisLetters(settings, CONTEXT, False)) as found:
            assert await found.read(WIDE) is None

    uvloop.run(test())


def test_a_record_is_put_back_as_it_came(redis: Streams, stream: str) -> None:
    redis.add(stream, [b"\xff"], user="ann")

    async def test() -> None:
        assert adapter.redrive is not None
        out = adapter.redrive.open(RedisInput(url=redis.url, stream=stream, key="user"), CONTEXT)
        async with connected(source(redis, stream, key="user")) as found, connected(out):
            batch, token = await found.read(WIDE)
            await out.write(Rows(batch, Token("dead", 1)))
            await found.ack(token)
            again, _ = await found.read(WIDE)
            assert (again.values, again.keys, again.headers) == (batch.values, batch.keys, batch.headers)

    uvloop.run(test())
