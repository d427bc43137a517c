"""Results as entries, and the acknowledgements that are written with them."""

from __future__ import annotations

import pytest
import uvloop
from queuecopy import connected
from redis_sides import CONTEXT, WIDE, numbers, sink, source
from servers.redis import Streams

from adapters.redis.settings import RedisOutput
from adapters.redis.sink import RedisSink
from gateway.core.stream import Batch, DataError, DeadLetter, Delivery, Message, Rows, Token, Transient, guarantee


def test_a_result_is_an_entry(redis: Streams, stream: str) -> None:
    headers = (("sluice-version", b"2"), ("id", b"of the one before"), ("body", b"no"))
    batch = Batch.of([Message("in/1-1", b"7", b"ann", headers), Message("in/1-2", b"8"), Message("in/1-3", None)])

    async def test() -> None:
        async with connected(sink(redis, stream, maxlen=1_000_000)) as out:
            await out.write(Rows(batch, Token("l", 1, 5)))

    uvloop.run(test())
    assert redis.entries(f"{stream}-out") == [
        {"sluice-version": b"2", "body": b"7", "id": b"in/1-1", "key": b"ann"},
        {"body": b"8", "id": b"in/1-2"},
        {"id": b"in/1-3"},
    ]


def test_a_stream_keeps_about_as_many_as_it_should(redis: Streams, stream: str) -> None:
    batch = Batch([str(n) for n in range(5000)], numbers(5000))

    async def test() -> None:
        async with connected(sink(redis, stream, maxlen=100)) as out:
            await out.write(Rows(batch, Token("l", 1, 5)))

    uvloop.run(test())
    left = redis.bodies(f"{stream}-out")
    assert 100 <= len(left) < 400
    assert left[-1] == b"4999"


def test_a_record_that_is_too_large_is_its_own_fault(redis: Streams, stream: str) -> None:
    many = tuple((f"h{n}", b"") for n in range(4000))

    async def test() -> None:
        async with connected(sink(redis, stream, record_bytes=1000)) as out:
            for batch, says in (
                (Batch(["1", "2"], [b"1", bytes(1001)]), "it has 1001 bytes, record_bytes is 1000"),
                (Batch(["1", "2"], [b"1", b"2"], (), [(), many]), "it has 4002 fields, expected at most 3500"),
            ):
                with pytest.raises(DataError, match=says) as error:
                    await out.write(Rows(batch, Token("l", 1, 1)))
                assert error.value.record == 1
            await out.write(Rows(Batch(["1"], [b"1"], (), [many[:3498]]), Token("l", 1, 1)))

    uvloop.run(test())
    assert redis.bodies(f"{stream}-out") == [b"1"]


def test_what_is_promised(redis: Streams, stream: str) -> None:
    found = source(redis, stream).source
    assert guarantee(found, sink(redis, stream, dead_letters="d").sink).delivery is Delivery.EXACTLY_ONCE
    for fsync, holds in ((True, Delivery.AT_LEAST_ONCE), (False, Delivery.AT_MOST_ONCE)):
        other = RedisSink(RedisOutput(url="redis://elsewhere", stream="s", fsync=fsync), CONTEXT)
        assert guarantee(found, other.sink).delivery is holds


def test_results_and_acknowledgements_are_one(redis: Streams, stream: str) -> None:
    """Where results cannot be written, nothing is acknowledged, nor where dead letters cannot."""
    redis.add(stream, numbers(3))
    with redis.client() as client:
        client.set(f"{stream}-dead", "no stream")

    async def test() -> None:
        out = sink(redis, stream, dead_letters=f"{stream}-dead")
        async with connected(source(redis, stream)) as found, connected(out):
            batch, token = await found.read(WIDE)
            with pytest.raises(Transient, match="is a string"):
                await out.write(Rows(batch.part(0, 2), token), [DeadLetter(batch[2], "broken", stream, "")])
            assert redis.bodies(f"{stream}-out") == []
            assert len(redis.pending(stream, "p")) == 3

    uvloop.run(test())
