"""What is Redis's own; what every adapter does, the contract kits ask."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from queuecopy import Copy, connected, until
from queuecopy import running as copying
from servers.fixtures import serving
from servers.redis import Redis, Streams
from servers.server import until as happens
from streaming import Place, Running, running

from adapters.redis import RedisInput, RedisLetters, RedisOutput, RedisSink, RedisSource, Tls, adapter
from gateway.core import letter
from gateway.core.errors import InvalidArgument
from gateway.core.stream import (
    Batch,
    Context,
    Credit,
    DataError,
    DeadLetter,
    Delivery,
    Fenced,
    Message,
    Rows,
    Token,
    Transient,
    guarantee,
)

CONTEXT = Context("p")
WIDE = Credit(1000, 1 << 26)


@pytest.fixture
def stream(redis: Streams) -> Iterator[str]:
    name = redis.name()
    yield name
    redis.delete(name, f"{name}-out", f"{name}-dead")


def source(server: Streams, stream: str, **settings: Any) -> RedisSource:
    return RedisSource(RedisInput(url=server.url, stream=stream, **settings), CONTEXT)


def sink(server: Streams, stream: str, **settings: Any) -> RedisSink:
    return RedisSink(RedisOutput(url=server.url, stream=f"{stream}-out", **settings), CONTEXT)


async def read(connector: RedisSource, count: int) -> tuple[list[bytes | None], list[Token]]:
    values: list[bytes | None] = []
    tokens = []
    async with asyncio.timeout(30):
        while len(values) < count:
            batch, token = await connector.read(WIDE)
            values += batch.values
            tokens.append(token)
    return values, tokens


def numbers(stop: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, stop)]


# ---- an entry as a record, a result as an entry


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


# ---- who has what


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


# ---- what is promised


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


# ---- a server that is in trouble


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


# ---- TLS


class Secure(Redis):
    """Asks for a certificate."""

    certificates = Path()

    def prepare(self) -> None:
        super().prepare()
        for name in ("ca.pem", "server.pem", "server.key"):
            shutil.copy(self.certificates / name, self.folder / name)
        files = {"ca-cert": "ca.pem", "cert": "server.pem", "key": "server.key"}
        more = [part for option, name in files.items() for part in (f"--tls-{option}-file", str(self.folder / name))]
        self.options = ("--port", "0", "--tls-port", str(self.port), *more)
        files = f"ssl_ca_certs={self.certificates}/ca.pem&ssl_certfile={self.certificates}/client.pem"
        self.url = f"rediss://localhost:{self.port}/0?{files}&ssl_keyfile={self.certificates}/client.key"


def test_tls(certificates: Path) -> None:
    Secure.certificates = certificates
    client = {"certificate": str(certificates / "client.pem"), "key": str(certificates / "client.key")}

    async def written(port: int, host: str = "localhost", **tls: Any) -> None:
        given = RedisOutput(url=f"rediss://{host}:{port}/0", stream="s", tls=Tls(**tls))
        async with connected(RedisSink(given, CONTEXT)) as out:
            await out.write(Rows(Batch(["1"], [b"1"]), Token("l", 1, 1)))

    with serving("redis", Secure) as server:
        uvloop.run(written(server.port, ca=str(certificates / "ca.pem"), **client))
        assert server.bodies("s") == [b"1"]
        with pytest.raises(Transient, match="certificate verify failed"):
            uvloop.run(written(server.port, **client))
        with pytest.raises(Transient, match="certificate"):
            uvloop.run(written(server.port, ca=str(certificates / "ca.pem")))
        with pytest.raises(Transient, match="nowhere"):
            uvloop.run(written(server.port, ca="/nowhere.pem"))


# ---- dead letters


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


# ---- the whole, in real processes

STREAM = """\
input: {redis: {url: 'URL', stream: NAME, key: user, consumer: one}}
decode: {format: json}
map: {x: [a, b, c, {field: d, default: 0}]}
model: affine
encode: {format: json, fields: {id: id, y: 'y[0]', version: $version}}
output: {redis: {url: 'URL', stream: NAME-out, dead_letters: NAME-dead}}
batching: {rows: 50, rows_in_flight: 200}
guarantee: exactly once
"""


def record(n: int) -> bytes:
    return b"{broken" if n % 10 == 4 else json.dumps({"id": n, "a": n, "b": 0, "c": 0}).encode()


def place_of(folder: Path, server: Streams, stream: str) -> Place:
    place = Place(folder)
    (folder / "double.yaml").write_text(STREAM.replace("URL", server.url).replace("NAME", stream))
    return place


def test_what_a_killed_process_had_is_scored_by_another(tmp_path: Path, redis: Streams, stream: str) -> None:
    redis.add(stream, [record(n) for n in range(1000)])
    places = {}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        places[name] = place_of(tmp_path / name, redis, stream)
        file = tmp_path / name / "double.yaml"
        file.write_text(file.read_text().replace("consumer: one", f"consumer: {name}, claim_seconds: 1"))
    died = Running(places["a"], "double.yaml", SLUICE_CRASH_AT="before-write:3")
    assert died.process.wait(60) == -signal.SIGKILL, died.text()
    assert {consumer for _, consumer, _ in redis.pending(stream, "double")} == {"a"}
    with running(places["b"]):
        happens(lambda: len(redis.bodies(f"{stream}-out")) >= 900, what="900 results")
        happens(lambda: redis.pending(stream, "double") == [], what="all acknowledged")
    results = [json.loads(body)["id"] for body in redis.bodies(f"{stream}-out")]
    assert sorted(results) == [n for n in range(1000) if n % 10 != 4]


def test_each_once_through_kills_of_the_stream_and_of_the_server(tmp_path: Path, own_redis: Redis) -> None:
    name = own_redis.name()
    own_redis.add(name, [record(n) for n in range(1000)], user="ann")
    place = place_of(tmp_path, own_redis, name)
    for point in ("after-write:5", "before-write:3", "after-read:4"):
        died = Running(place, "double.yaml", SLUICE_CRASH_AT=point)
        assert died.process.wait(60) == -signal.SIGKILL, died.text()
        own_redis.kill()
        own_redis.start()
    with running(place) as process:
        happens(lambda: len(own_redis.bodies(f"{name}-out")) == 900, what="900 results")
        happens(lambda: len(own_redis.bodies(f"{name}-dead")) == 100, what="100 dead letters")
        results = [json.loads(body) for body in own_redis.bodies(f"{name}-out")]
        assert [(found["id"], found["y"]) for found in results] == [(n, 3.0 * n) for n in range(1000) if n % 10 != 4]
        assert {(found["key"], found["sluice-version"]) for found in own_redis.entries(f"{name}-out")} == {
            (b"ann", b"2")
        }
        assert own_redis.pending(name, "double") == []
        assert process.view()["guarantee"].startswith("exactly once")
        done = process.sluice("redrive", "double", "--json")
        assert json.loads(done.stdout) == {"records": 100, "left": 0}, done.stderr
        happens(lambda: len(own_redis.bodies(f"{name}-dead")) == 100, what="the same dead letters")
        letters = [letter.decode(body) for body in own_redis.bodies(f"{name}-dead")]
        assert {(found.message.value, found.message.key, found.attempts) for found in letters} == {
            (b"{broken", b"ann", 2)
        }
        assert process.view()["lag"]
    own_redis.delete(name, f"{name}-out", f"{name}-dead")
