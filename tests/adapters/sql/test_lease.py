"""Rows that are lent for a time, and fenced by a token; in the table that is read, or in one of results beside it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from servers.server import until
from sql_database import Database, column, read, results

from gateway.core.stream import DataError, DeadLetter, Delivery, Fenced, Rows, Transient, guarantee

LONG_AGO = "UPDATE {} SET claimed_until = '2020-01-01 00:00:00'"


def test_rows_are_lent_scored_and_done(database: Database) -> None:
    database.claims(5)

    async def go() -> None:
        source, sink = database.input("lease"), database.output()
        assert guarantee(source.source, sink.sink).delivery is Delivery.EXACTLY_ONCE
        await source.connect()
        await sink.connect()
        batch, token = await read(source, 3)
        assert batch.values.names == ("id", "x", "label", "reason", "score")  # type: ignore[attr-defined]
        assert database.column("SELECT count(*) FROM claims WHERE claimed_until IS NOT NULL") == ["3"]
        other, second = await read(source)
        assert list(other.ids) == ["4", "5"]
        await sink.write(results(batch, token))
        await source.ack(token)
        await sink.write(results(other, second))
        await source.ack(second)
        await source.close()
        await sink.close()

    asyncio.run(go())
    done = "SELECT count(*) FROM claims WHERE status = 'done' AND score = 10 * x AND claimed_by IS NULL"
    assert database.column(done) == ["5"]


def test_who_stands_still_past_the_lease_is_fenced(database: Database) -> None:
    database.claims(3)

    async def go() -> None:
        slow, quick, sink = database.input("lease"), database.input("lease"), database.output()
        for each in (slow, quick, sink):
            await each.connect()
        batch, token = await read(slow)
        database.sql(LONG_AGO.format("claims"))
        again, its = await read(quick)
        assert list(again.ids) == list(batch.ids)
        with pytest.raises(Fenced):
            await sink.write(results(batch, token, score=[0.0, 0.0, 0.0]))
        await sink.write(results(again, its))
        with pytest.raises(Fenced):
            await slow.ack(token)
        await quick.ack(its)
        for each in (slow, quick, sink):
            await each.close()

    asyncio.run(go())
    assert database.column("SELECT score FROM claims ORDER BY id") in (["10", "20", "30"], ["10.0", "20.0", "30.0"])


@pytest.mark.parametrize("mode", ["lease", "anti-join"])
def test_a_lease_is_renewed_while_its_batch_is_scored(database: Database, mode: str) -> None:
    table = marked = "claims"
    if mode == "lease":
        database.claims(3)
    else:
        results_table(database)
        table, marked = "source", "scores"
    settings: dict[str, Any] = {
        "lease": {"seconds": 1},
        "rows": 2,
        **({"results": "scores"} if mode == "anti-join" else {}),
    }
    ends = f"SELECT min(claimed_until) FROM {marked} WHERE claimed_until IS NOT NULL"

    async def go() -> None:
        slow, quick = database.input(mode, table, **settings), database.input(mode, table, **settings)
        sink = database.output()
        for each in (slow, quick, sink):
            await each.connect()
        batch, token = await read(slow)
        first = datetime.fromisoformat(database.column(ends)[0])
        assert len((await read(quick))[0]) == 1
        waiting = asyncio.create_task(read(quick))

        def renewed() -> bool:
            """From a time at which the first lease was over."""
            return datetime.fromisoformat(database.column(ends)[0]) > first + timedelta(seconds=1)

        await asyncio.to_thread(until, renewed, what="the renewal")
        assert not waiting.done()
        await sink.write(results(batch, token))
        await slow.ack(token)
        waiting.cancel()
        await asyncio.wait([waiting])
        for each in (slow, quick, sink):
            await each.close()

    asyncio.run(go())
    assert database.column(f"SELECT count(*) FROM {marked} WHERE status = 'done'") == ["2"]
    assert database.column(f"SELECT count(*) FROM {marked} WHERE claimed_until IS NOT NULL") == ["0"]


def test_a_renewal_gives_back_nothing_that_somebody_else_has(database: Database) -> None:
    database.claims(2)

    async def go() -> None:
        slow, quick = database.input("lease", lease={"seconds": 600}), database.input("lease", lease={"seconds": 600})
        sink = database.output()
        for each in (slow, quick, sink):
            await each.connect()
        _, token = await read(slow)
        database.sql(LONG_AGO.format("claims"))
        again, its = await read(quick)
        before = database.sql("SELECT claimed_until, claimed_by FROM claims")
        await token.position.renew()
        assert database.sql("SELECT claimed_until, claimed_by FROM claims") == before
        await sink.write(results(again, its))
        await its.position.renew()  # they are settled
        await quick.ack(its)
        assert database.column("SELECT count(*) FROM claims WHERE claimed_until IS NULL") == ["2"]
        for each in (slow, quick, sink):
            await each.close()

    asyncio.run(go())


def test_a_lease_that_nobody_else_took_is_still_good(database: Database) -> None:
    database.claims(2)

    async def go() -> None:
        source, sink = database.input("lease"), database.output()
        await source.connect()
        await sink.connect()
        batch, token = await read(source)
        database.sql(LONG_AGO.format("claims"))
        await sink.write(results(batch, token))
        await source.ack(token)
        await source.close()
        await sink.close()

    asyncio.run(go())
    assert database.column("SELECT count(*) FROM claims WHERE status = 'done'") == ["2"]


def test_a_close_gives_the_rows_back(database: Database) -> None:
    database.claims(2)

    async def go() -> None:
        source = database.input("lease")
        await source.connect()
        await read(source)
        await source.close()
        await source.connect()
        assert len((await read(source))[0]) == 2
        await source.close()

    asyncio.run(go())


def test_two_readers_share_the_rows(database: Database) -> None:
    database.claims(120)

    async def reader(seen: list[str]) -> None:
        source, sink = database.input("lease"), database.output()
        await source.connect()
        await sink.connect()
        while True:
            try:
                async with asyncio.timeout(0.5):
                    batch, token = await read(source, 7)
            except TimeoutError:
                break
            seen += batch.ids
            await sink.write(results(batch, token))
            await source.ack(token)
        await source.close()
        await sink.close()

    async def go() -> list[str]:
        one: list[str] = []
        other: list[str] = []
        await asyncio.gather(reader(one), reader(other))
        return one + other

    assert sorted(asyncio.run(go()), key=int) == [str(i) for i in range(1, 121)]
    assert database.column("SELECT count(*) FROM claims WHERE status = 'done' AND score = 10 * x") == ["120"]


def test_a_row_that_the_table_refuses_is_named(database: Database) -> None:
    database.sql(
        f"CREATE TABLE claims (id bigint PRIMARY KEY, x {database.double}, status varchar(10) DEFAULT 'new', "
        f"score {database.double} CHECK (score < 770 OR score > 779), claimed_until {database.moment}, "
        "claimed_by varchar(32), label varchar(20))"
    )
    database.add(range(1, 101))

    async def go() -> None:
        source, sink = database.input("lease"), database.output()
        await source.connect()
        await sink.connect()
        batch, token = await read(source)
        whole = results(batch, token)
        with pytest.raises(DataError) as refused:
            await sink.write(whole)
        assert batch.ids[refused.value.record] == "77"
        keep = [at for at in range(100) if at != refused.value.record]
        await sink.write(Rows(whole.batch.take(keep), token))
        await source.ack(token)
        await source.close()
        await sink.close()

    asyncio.run(go())
    assert database.column("SELECT count(*) FROM claims WHERE status = 'done' AND score = 10 * x") == ["99"]
    assert database.column("SELECT id FROM claims WHERE status = 'failed'") == ["77"]


def results_table(database: Database) -> None:
    database.sql(
        f"CREATE TABLE source (id bigint, v int, x {database.double}, PRIMARY KEY (id, v));"
        "INSERT INTO source VALUES (1, 1, 1), (2, 1, 2), (3, 1, 3);"
        f"CREATE TABLE scores (id bigint, v int, status varchar(10), score {database.double}, "
        f"claimed_until {database.moment}, claimed_by varchar(32), PRIMARY KEY (id, v))"
    )


def test_a_source_that_is_only_read_is_claimed_in_the_results(database: Database) -> None:
    results_table(database)

    async def go() -> None:
        source = database.input("anti-join", "source", id=["id"], version="v", results="scores")
        other = database.input("anti-join", "source", id=["id"], version="v", results="scores")
        sink = database.output()
        for each in (source, other, sink):
            await each.connect()
        batch, token = await read(source, 2)
        assert list(batch.ids) == ["1@1", "2@1"]
        rest, second = await read(other)
        assert list(rest.ids) == ["3@1"]
        await sink.write(results(batch, token))
        await source.ack(token)
        await sink.write(results(rest, second))
        await other.ack(second)
        # a row that changes has another version, and is scored again
        database.sql("UPDATE source SET v = 2, x = 7 WHERE id = 2")
        batch, token = await read(source)
        assert list(batch.ids) == ["2@2"]
        assert list(column(batch, "x")) == [7.0]
        await sink.write(results(batch, token))
        await source.ack(token)
        for each in (source, other, sink):
            await each.close()

    asyncio.run(go())
    rows = database.sql("SELECT id, v, score, status FROM scores ORDER BY id, v")
    assert [(int(i), int(v), float(score), status) for i, v, score, status in rows] == [
        (1, 1, 10.0, "done"), (2, 1, 20.0, "done"), (2, 2, 70.0, "done"), (3, 1, 30.0, "done"),
    ]  # fmt: skip


def test_a_lease_in_the_results_ends_and_fences(database: Database) -> None:
    results_table(database)

    async def go() -> None:
        slow = database.input("anti-join", "source", results="scores")
        quick = database.input("anti-join", "source", results="scores")
        sink = database.output()
        for each in (slow, quick, sink):
            await each.connect()
        batch, token = await read(slow)
        database.sql(LONG_AGO.format("scores"))
        again, its = await read(quick)
        assert list(again.ids) == list(batch.ids) == ["1/1", "2/1", "3/1"]
        with pytest.raises(Fenced):
            await sink.write(results(batch, token))
        await sink.write(results(again, its))
        await quick.ack(its)
        for each in (slow, quick, sink):
            await each.close()

    asyncio.run(go())
    assert database.column("SELECT count(*) FROM scores WHERE status = 'done'") == ["3"]


def test_dead_rows_wait_again_after_a_redrive(database: Database) -> None:
    database.claims(2)

    async def go() -> None:
        source = database.input("lease", status={"reason": "reason"})
        sink = database.output(mark_failed=True)
        back = database.redrive("lease", status={"reason": "reason"})
        for each in (source, sink, back):
            await each.connect()
        batch, token = await read(source)
        whole = results(batch, token)
        await sink.write(Rows(whole.batch.take([0]), token), [DeadLetter(batch[1], "bad", token.lane, "")])
        await source.ack(token)
        assert database.sql("SELECT status, reason FROM claims ORDER BY id") == [("done", ""), ("failed", "bad")]
        await back.write(Rows(batch.take([1]), token))
        assert database.sql("SELECT status, reason FROM claims ORDER BY id") == [("done", ""), ("new", "")]
        assert list((await read(source))[0].ids) == ["2"]
        database.sql("DELETE FROM claims WHERE id = 1")
        with pytest.raises(DataError, match="no row '1'"):
            await back.write(Rows(batch.take([0]), token))
        for each in (source, sink, back):
            await each.close()

    asyncio.run(go())


def test_a_lease_needs_its_columns_and_says_which(database: Database) -> None:
    database.claims(1)

    async def go() -> None:
        source = database.input("lease", lease={"until": "claimed_untill"})
        with pytest.raises(Transient, match=r"lease.until: .*no column 'claimed_untill', did you mean 'claimed_until'"):
            await source.connect()
        await source.close()

    asyncio.run(go())
