"""Rows in order, deleted or marked when they are done."""

from __future__ import annotations

import asyncio
import json

import pytest
from sql_database import Database, column, read

from gateway.core.stream import Batch, Delivery, Fenced, Rows, Token, guarantee
from gateway.core.table import Table


def outbox(database: Database) -> None:
    database.sql(
        f"CREATE TABLE outbox (id bigint PRIMARY KEY, topic varchar(20), payload {database.bytes}, "
        "status varchar(10) DEFAULT 'new');"
        "INSERT INTO outbox (id, topic, payload) VALUES (1, 'a', 'one'), (2, 'b', 'two'), (3, 'a', 'three');"
        f"CREATE TABLE scores (record varchar(50) PRIMARY KEY, score {database.double})"
    )


def scored(batch: Batch, token: Token) -> Rows:
    return Rows(Batch(batch.ids, Table(("score",), [[float(i) for i in batch.ids]])), token)


def test_rows_are_deleted_with_their_results(database: Database) -> None:
    outbox(database)

    async def go() -> None:
        source = database.input("outbox", "outbox", delete=True, key="topic")
        sink = database.output("results", table="scores", id="record")
        assert guarantee(source.source, sink.sink).delivery is Delivery.EXACTLY_ONCE
        assert source.source.ordered
        await source.connect()
        await sink.connect()
        batch, token = await read(source, 2)
        assert list(batch.keys) == [b"a", b"b"]
        assert list(column(batch, "payload")) == [b"one", b"two"]
        await sink.write(scored(batch, token))
        await source.ack(token)
        assert database.column("SELECT id FROM outbox") == ["3"]
        batch, token = await read(source)
        await sink.write(scored(batch, token))
        await source.ack(token)
        await source.close()
        await sink.close()

    asyncio.run(go())
    assert database.column("SELECT id FROM outbox") == []
    assert database.column("SELECT record FROM scores ORDER BY record") == ["1", "2", "3"]


def test_rows_are_marked_and_deleted_ones_come_back_by_redrive(database: Database) -> None:
    outbox(database)

    async def go() -> None:
        source = database.input("outbox", "outbox")
        await source.connect()
        batch, token = await read(source)
        await source.ack(token)
        assert database.column("SELECT status FROM outbox") == ["done"] * 3
        back = database.redrive("outbox", "outbox")
        await back.connect()
        await back.write(Rows(batch.take([1]), token))
        assert database.column("SELECT status FROM outbox ORDER BY id") == ["done", "new", "done"]
        database.sql("DELETE FROM outbox")
        await back.close()
        back = database.redrive("outbox", "outbox", delete=True)
        await back.connect()
        # as a dead letter keeps it: the JSON of its columns
        text = batch.values[2]
        assert text is not None
        assert json.loads(text)["topic"] == "a"
        await back.write(Rows(Batch(["3"], [text]), token))
        await back.close()
        await source.close()

    asyncio.run(go())
    assert [row[:2] for row in database.sql("SELECT id, topic FROM outbox")] == [("3", "a")]


def test_only_one_of_two_readers_settles_a_row(sqlite: Database) -> None:
    outbox(sqlite)

    async def go() -> None:
        one, other = sqlite.input("outbox", "outbox"), sqlite.input("outbox", "outbox")
        sink = sqlite.output("results", table="scores", id="record")
        for each in (one, other, sink):
            await each.connect()
        first, second = await read(one), await read(other)
        assert list(first[0].ids) == list(second[0].ids)
        await sink.write(scored(*first))
        with pytest.raises(Fenced):
            await sink.write(scored(*second))
        await one.ack(first[1])
        for each in (one, other, sink):
            await each.close()

    asyncio.run(go())


def test_a_cursor_loses_no_row_that_commits_late(postgres: Database) -> None:
    postgres.sql(
        "CREATE TABLE log (id bigserial PRIMARY KEY, x double precision, "
        "xid xid8 NOT NULL DEFAULT pg_current_xact_id());"
        "CREATE TABLE scores (record text PRIMARY KEY, score double precision)"
    )

    async def go() -> list[str]:
        import asyncpg

        sink = postgres.output("results", table="scores", id="record", positions="positions")
        await sink.connect()
        source = postgres.input("cursor", "log", positions=sink)
        assert guarantee(source.source, sink.sink).delivery is Delivery.EXACTLY_ONCE
        await source.connect()
        early, late = await asyncpg.connect(postgres.url), await asyncpg.connect(postgres.url)
        slow = early.transaction()
        await slow.start()
        await early.execute("INSERT INTO log (x) VALUES (1)")
        await late.execute("INSERT INTO log (x) VALUES (2)")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await read(source)
        await slow.commit()
        seen: list[str] = []
        batch, token = await read(source)
        seen += batch.ids
        await sink.write(scored(batch, token))
        await source.ack(token)
        await late.execute("INSERT INTO log (x) VALUES (3)")
        await read(source)
        # what was read and not written comes again, from the position that is stored
        await source.connect()
        batch, second = await read(source)
        seen += batch.ids
        with pytest.raises(Fenced):
            await sink.write(scored(batch, Token(token.lane, token.epoch, second.position)))
        await sink.write(scored(batch, second))
        await early.close()
        await late.close()
        await source.close()
        await sink.close()
        return seen

    assert asyncio.run(go()) == ["1", "2", "3"]
    assert postgres.column("SELECT record FROM scores ORDER BY 1") == ["1", "2", "3"]
