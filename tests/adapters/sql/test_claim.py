"""Rows that are locked until their result is written, in one transaction with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sql_database import CREDIT, Database, column, opened, read, results, through

from gateway.core.errors import InvalidArgument
from gateway.core.stream import (
    Batch,
    Credit,
    DeadLetter,
    Delivery,
    Fenced,
    Rows,
    Token,
    Transient,
    guarantee,
)
from gateway.core.table import Table


def test_rows_are_claimed_scored_and_done(locking: Database) -> None:
    locking.claims(5)

    async def go() -> None:
        source, sink = locking.input(columns=["x", "label"]), locking.output()
        assert guarantee(source.source, sink.sink).delivery is Delivery.EXACTLY_ONCE
        await source.connect()
        await sink.connect()
        batch, token = await read(source, 3)
        assert list(batch.ids) == ["1", "2", "3"]
        assert isinstance(batch.values, Table)
        assert batch.values.names == ("x", "label")
        assert list(column(batch, "label")) == ["row 1", "row 2", "row 3"]
        assert locking.column("SELECT count(*) FROM claims WHERE status = 'done'") == ["0"]
        await sink.write(results(batch, token))
        assert locking.column("SELECT score FROM claims WHERE status = 'done' ORDER BY id") == ["10", "20", "30"]
        await source.ack(token)
        batch, token = await read(source)
        assert list(batch.ids) == ["4", "5"]
        await source.close()
        await sink.close()

    asyncio.run(go())
    assert locking.column("SELECT count(*) FROM claims WHERE status = 'new'") == ["2"]


def test_a_row_that_waits_before_those_under_way_is_claimed_soon(postgres: Database) -> None:
    """A claim begins behind the batch that was claimed last, while that is under way; but not each."""
    postgres.claims(0)
    postgres.add(range(101, 201))

    async def go() -> list[int]:
        source, sink = postgres.input(rows=5), postgres.output()
        await source.connect()
        await sink.connect()
        before, seen = await read(source), list[int]()
        postgres.add(range(1, 6))
        for _ in range(20):
            after = await read(source)
            seen += map(int, after[0].ids)
            await sink.write(results(*before))
            await source.ack(before[1])
            before = after
        # Behind it nothing waits.
        postgres.sql("UPDATE claims SET status = 'new' WHERE id = 150")
        last, token = await read(source)
        assert list(last.ids) == ["150"]
        for batch, its in (before, (last, token)):
            await sink.write(results(batch, its))
            await source.ack(its)
        await source.close()
        await sink.close()
        return seen

    seen = asyncio.run(go())
    assert seen[:5] == [106, 107, 108, 109, 110]
    assert seen.index(1) < 8 * 5
    assert sorted(seen) == [*range(1, 6), *range(106, 201)]
    assert postgres.column("SELECT count(*) FROM claims WHERE status = 'done' AND score = 10 * x") == ["105"]


def test_two_claimers_never_take_the_same_row(locking: Database) -> None:
    locking.claims(400)

    async def claimer(seen: list[str]) -> None:
        source, sink = locking.input(claims=2), locking.output()
        await source.connect()
        await sink.connect()
        while len(seen) < 400:
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
        await asyncio.gather(claimer(one), claimer(other))
        assert one
        assert other
        return one + other

    seen = asyncio.run(go())
    assert sorted(seen, key=int) == [str(i) for i in range(1, 401)]
    assert locking.column("SELECT count(*) FROM claims WHERE status = 'done' AND score = 10 * x") == ["400"]


def test_what_is_claimed_and_not_settled_comes_again_after_a_reconnect(locking: Database) -> None:
    locking.claims(4)

    async def go() -> None:
        source = locking.input()
        await source.connect()
        _, token = await read(source, 2)
        assert list((await read(source))[0].ids) == ["3", "4"]
        await source.connect()
        with pytest.raises(Fenced):
            await source.ack(token)
        batch, _ = await read(source)
        assert list(batch.ids) == ["1", "2", "3", "4"]
        await source.close()

    asyncio.run(go())


def test_no_more_batches_are_claimed_than_there_are_lanes(locking: Database) -> None:
    locking.claims(9)

    async def go() -> None:
        source, sink = locking.input(claims=2), locking.output()
        await source.connect()
        await sink.connect()
        first = await read(source, 2)
        second = await read(source, 2)
        assert first[1].lane != second[1].lane
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await source.read(CREDIT)
        await sink.write(results(*second))
        await source.ack(second[1])
        third = await read(source, 2)
        assert list(third[0].ids) == ["5", "6"]
        await source.close()
        await sink.close()

    asyncio.run(go())


def test_cancelling_a_read_loses_nothing_and_leaks_no_connection(locking: Database) -> None:
    locking.claims(50)

    async def go() -> None:
        source = locking.input(claims=3)
        await source.connect()
        for wait in range(40):
            task = asyncio.ensure_future(source.read(CREDIT))
            for _ in range(wait):
                await asyncio.sleep(0)
            await asyncio.sleep(0.0005 * (wait % 7))
            task.cancel()
            try:
                found = await task
            except asyncio.CancelledError:
                continue
            if found is not None:
                await source.connect()
        batch, _ = await read(source)
        assert len(batch) == 50
        await source.close()

    asyncio.run(go())


def test_results_in_a_table_of_their_own_share_the_transaction_of_the_claim(locking: Database) -> None:
    locking.claims(3)
    locking.sql(f"CREATE TABLE scores (id bigint PRIMARY KEY, record varchar(50), score {locking.double})")

    async def go() -> None:
        source = locking.input()
        sink = locking.output("results", table="scores", match=["id"], id="record", dead_letters="dead")
        await source.connect()
        await sink.connect()
        batch, token = await read(source)
        whole = results(batch, token)
        dead = [DeadLetter(batch[2], "it is odd", token.lane, str(token.position), 2)]
        await sink.write(Rows(whole.batch.take([0, 1]), token), dead)
        await source.ack(token)
        await source.close()
        await sink.close()

    asyncio.run(go())
    assert locking.sql("SELECT id, record, score FROM scores ORDER BY id") == [("1", "1", "10"), ("2", "2", "20")]
    assert locking.sql("SELECT pipeline, id, reason, attempts FROM dead") == [("p", "3", "it is odd", "2")]
    assert locking.column("SELECT status FROM claims ORDER BY id") == ["done", "done", "failed"]


def test_an_update_from_another_database_is_refused_with_a_message(locking: Database) -> None:
    locking.claims(1)

    async def go() -> None:
        sink = locking.output()
        await sink.connect()
        rows = Rows(Batch(["1"], Table(("score",), [[1.0]])), Token("t", 1, 5))
        with pytest.raises(Transient, match="not rows of"):
            await sink.write(rows)
        await sink.close()

    asyncio.run(go())


def test_a_null_marker_and_another_status_column(locking: Database) -> None:
    locking.claims(2)
    locking.sql("ALTER TABLE claims ADD COLUMN seen boolean")

    async def go() -> None:
        status = {"column": "seen", "new": None, "done": True, "failed": False}
        source, sink = locking.input(status=status), locking.output()
        await through(source, sink)

    asyncio.run(go())
    assert locking.column("SELECT count(*) FROM claims WHERE seen") == ["2"]


def test_sqlite_cannot_claim_and_says_what_can(sqlite: Database) -> None:
    with pytest.raises(InvalidArgument, match="use mode: lease"):
        sqlite.input()


def test_a_key_that_is_none_is_told(locking: Database) -> None:
    locking.claims(3)

    async def go() -> None:
        source, sink = locking.input(id=["status"]), locking.output()
        await source.connect()
        await sink.connect()
        batch, token = await read(source, 1)
        with pytest.raises(Transient, match="status of 'claims' name 3 rows where they should name 1"):
            await sink.write(results(batch, token))
        await source.close()
        await sink.close()

    asyncio.run(go())


def test_rows_of_long_texts_are_read_within_the_credit(database: Database) -> None:
    database.sql(
        "CREATE TABLE claims (id bigint PRIMARY KEY, body text, status varchar(10) DEFAULT 'new', "
        f"claimed_until {database.moment}, claimed_by varchar(32))"
    )
    database.sql("INSERT INTO claims (id, body) VALUES " + ", ".join(f"({i}, '{'x' * 10_000}')" for i in range(60)))

    async def go() -> None:
        source = database.input("lease", claims=64)
        await source.connect()
        sizes: list[int] = []
        while sum(sizes) < 60:
            found = await source.read(Credit(1000, 200_000))
            assert found is not None
            sizes.append(len(found[0]))
        assert sizes[0] == 1
        assert max(sizes) <= 20
        assert len(sizes) <= 6
        await source.close()

    asyncio.run(go())


def test_a_row_that_is_done_may_not_wait_again(sqlite: Database) -> None:
    with pytest.raises(InvalidArgument, match="would wait again"):
        sqlite.input("lease", status={"done": "new"})


def test_an_index_that_is_missing_in_mariadb_is_told(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened("mariadb", request, tmp_path) as database:
        database.claims(1)

        async def go() -> None:
            source = database.input()
            await source.connect()
            await source.close()

        asyncio.run(go())
        assert not caplog.messages
        database.sql("DROP INDEX claims_status ON claims")
        asyncio.run(go())
        assert "no index that begins with 'status'" in caplog.messages[0]
