"""Entries as records: what a consumer of a group is given, keeps and takes over."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest
import uvloop
from queuecopy import Copy, connected, until
from queuecopy import running as copying
from redis_sides import WIDE, numbers, read, sink, source
from servers.redis import Streams

from adapters.redis.settings import RedisInput
from adapters.redis.source import RedisSource
from gateway.core.stream import Batch, Context, Credit, DeadLetter, Fenced, Rows


def test_an_entry_is_a_record_with_headers(redis: Streams, stream: str) -> None:
    redis.add(stream, [b"1"], user="ann", traceparent="00-1")
    with redis.client() as client:
        client.xadd(stream, {"other": "x", b"\xff": b"\xfe"}, id="99999999999999-7")

    async def test() -> None:
        async with connected(source(redis, stream, key="user")) as found:
            batch, token = await found.read(WIDE)
            assert batch.values == [b"1", None]
            assert batch.keys == [b"ann", None]
            assert batch.headers[0] == (("user", b"ann"), ("traceparent", b"00-1"))
            assert batch.ids[1] == f"{stream}/99999999999999-7"
            assert batch.timestamps[1] == 99999999999999
            assert abs(batch.timestamps[0] / 1000 - time.time()) < 60
            assert batch.faults == {1: "it has no field 'body'"}
            assert str(token.position).endswith("..99999999999999-7")

    uvloop.run(test())


def test_a_group_begins_where_it_is_told(redis: Streams, stream: str) -> None:
    redis.add(stream, [b"old"])

    async def test() -> None:
        async with (
            connected(source(redis, stream, group="all")) as whole,
            connected(source(redis, stream, group="new", start="latest")) as latest,
        ):
            redis.add(stream, [b"new"])
            assert (await read(whole, 2))[0] == [b"old", b"new"]
            assert (await read(latest, 1))[0] == [b"new"]

    uvloop.run(test())


def test_a_delivery_to_another_process_counts_and_too_many_are_a_fault(redis: Streams, stream: str) -> None:
    redis.add(stream, [b"poison"])

    async def test() -> None:
        first = source(redis, stream)
        async with connected(first):
            await read(first, 1)
            for _ in range(3):  # an output that is away for long
                await first.connect()
                await read(first, 1)
            assert [count for _, _, count in redis.pending(stream, "p")] == [1]
        for deliveries in (2, 3):  # another process, after this one died
            async with connected(source(redis, stream, max_deliveries=2)) as found:
                batch, _ = await found.read(WIDE)
                assert batch.values == [b"poison"]
                assert bool(batch.faults) == (deliveries > 2)
        assert batch.faults == {0: "it was delivered 3 times and never acknowledged; max_deliveries is 2"}

    uvloop.run(test())


def test_what_a_dead_consumer_left_is_taken_over_and_nothing_is_settled_twice(
    redis: Streams, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that was taken for dead comes back: what it writes and acknowledges is left out."""
    redis.add(stream, numbers(4))

    async def test() -> None:
        async with (
            connected(source(redis, stream, consumer="slow")) as slow,
            connected(source(redis, stream, consumer="quick", claim_seconds=0.2)) as quick,
            connected(sink(redis, stream, dead_letters=f"{stream}-dead")) as out,
        ):
            slow_batch, slow_token = await slow.read(WIDE)
            values, tokens = await read(quick, 4)
            assert values == numbers(4)
            assert [count for _, _, count in redis.pending(stream, "p")] == [2] * 4
            dead = [DeadLetter(slow_batch[3], "it is broken", stream, "")]
            await out.write(Rows(slow_batch.part(0, 3), slow_token), dead)
            await slow.ack(slow_token)
            assert redis.bodies(f"{stream}-out") == redis.bodies(f"{stream}-dead") == []
            assert len(redis.pending(stream, "p")) == 4
            for token in tokens:
                await out.write(Rows(Batch([f"{stream}/{name}" for name in token.position.ids], values), token))
                await quick.ack(token)
            await out.write(Rows(slow_batch, slow_token))
        assert redis.bodies(f"{stream}-out") == numbers(4)
        assert redis.pending(stream, "p") == []

    with caplog.at_level(logging.WARNING):
        uvloop.run(test())
    assert f"4 entries of stream '{stream}' were taken over by another consumer" in caplog.text


def test_what_is_worked_on_is_not_taken_over(redis: Streams, stream: str) -> None:
    redis.add(stream, numbers(10))

    async def test() -> None:
        async with (
            connected(source(redis, stream, consumer="slow", claim_seconds=0.3)) as slow,
            connected(source(redis, stream, consumer="other", claim_seconds=1.0)) as other,
        ):
            _, tokens = await read(slow, 10)
            waiting = asyncio.ensure_future(other.read(WIDE))
            done, _ = await asyncio.wait({waiting}, timeout=2.5)
            assert not done
            redis.add(stream, [b"new"])
            assert (await waiting)[0].values == [b"new"]
            for token in tokens:
                await slow.ack(token)
        assert [found[1] for found in redis.pending(stream, "p")] == ["other"]

    uvloop.run(test())


def test_two_consumers_share_a_stream_and_a_transaction_each(redis: Streams, stream: str) -> None:
    redis.add(stream, numbers(2000))

    async def test() -> None:
        copies = [
            Copy(source(redis, stream, consumer=name), sink(redis, stream), Credit(50, 1 << 20)) for name in ("a", "b")
        ]
        async with copying(copies[0]), copying(copies[1]):
            await until(lambda: sum(len(copy.done) for copy in copies) >= 2000)
        assert all(copy.done for copy in copies)

    uvloop.run(test())
    assert sorted(redis.bodies(f"{stream}-out"), key=int) == numbers(2000)
    assert redis.pending(stream, "p") == []


def test_processes_of_a_host_have_names_of_their_own_from_restart_to_restart(
    redis: Streams, stream: str, tmp_path: Path
) -> None:
    settings = RedisInput(url=redis.url, stream=stream)
    one, two, three = (RedisSource(settings, Context("p", None, str(tmp_path / "state"))) for _ in range(3))

    async def test() -> None:
        async with connected(two):
            async with connected(one):
                await one.connect()
                names = [named(two), named(one)]
                assert [name.rpartition("p/")[2] for name in names] == ["0", "1"]
            async with connected(three):
                assert named(three) == names[1]

    uvloop.run(test())


def named(connector: RedisSource) -> str:
    return connector._consumer


def test_large_entries_do_not_exceed_the_credit_by_much(redis: Streams, stream: str) -> None:
    redis.add(stream, [bytes(100_000)] * 200)

    async def test() -> None:
        async with connected(source(redis, stream)) as found:
            fetched, count = [], 0
            while count < 200:
                batch, token = await found.read(Credit(1000, 500_000))
                count += len(batch)
                fetched.append(len(batch) + len(found._inbox))
                await found.ack(token)
            assert max(fetched) <= 6

    uvloop.run(test())


def test_a_token_of_an_earlier_connection_is_refused(redis: Streams, stream: str) -> None:
    redis.add(stream, [b"1"])

    async def test() -> None:
        async with connected(source(redis, stream)) as found:
            _, tokens = await read(found, 1)
            await found.connect()
            with pytest.raises(Fenced, match="its entries come again"):
                await found.ack(tokens[0])
            assert (await read(found, 1))[0] == [b"1"]

    uvloop.run(test())


def test_entries_that_were_deleted_hold_nothing_up(redis: Streams, stream: str) -> None:
    names = redis.add(stream, numbers(3))

    async def test() -> None:
        async with connected(source(redis, stream)) as found:
            await read(found, 3)
        with redis.client() as client:
            client.xdel(stream, names[1])
        async with connected(source(redis, stream)) as found:
            values, tokens = await read(found, 2)
            assert values == [b"0", b"2"]
            for token in tokens:
                await found.ack(token)
        assert redis.pending(stream, "p") == []

    uvloop.run(test())


def test_many_entries_that_were_left_come_in_order_and_within_the_credit(redis: Streams, stream: str) -> None:
    redis.add(stream, numbers(1000))

    async def test() -> None:
        async with connected(source(redis, stream)) as found:
            await read(found, 1000)
        async with connected(source(redis, stream)) as found:
            values = []
            while len(values) < 1000:
                batch, token = await found.read(Credit(70, 100))
                assert len(batch) <= 70
                assert batch.nbytes <= 103
                values += batch.values
                await found.ack(token)
        assert values == numbers(1000)

    uvloop.run(test())


def test_the_lag(redis: Streams, stream: str) -> None:
    async def test() -> None:
        async with connected(source(redis, stream)) as found:
            assert (await found.lag())[stream].records == 0
            redis.add(stream, numbers(5))
            lag = (await found.lag())[stream]
            assert lag.records == 5
            assert lag.seconds is not None
            assert 0 <= lag.seconds < 60
            await found.read(Credit(2, 1 << 20))
            assert (await found.lag())[stream].records == 3
            await found.read(Credit(5, 1 << 20))
            assert (await found.lag())[stream] == type(lag)(0, 0.0)

    uvloop.run(test())
