"""Transactions that meet others, or last too long, in the middle of a run."""

from __future__ import annotations

import asyncio
import re

import pytest
from sql_database import Database
from sql_stream import Stream, complete, tables

from adapters.sql.address import Address
from adapters.sql.connection import Connection
from adapters.sql.dialect import dialect
from adapters.sql.settings import Limits

RESULTS = {"mode": "results", "match": ["id"]}
WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND wait_event_type = 'Lock'",
    # not of innodb_trx, which shows what was when somebody read it 0.1 s after anybody else
    "mariadb": "SELECT variable_value FROM information_schema.global_status "
    "WHERE variable_name = 'innodb_row_lock_current_waits'",
}


async def other(database: Database) -> Connection:
    """Somebody else, in a transaction."""
    address = Address.of(database.url)
    connection = await dialect(address.system).open(address, Limits(), "other")
    await connection.begin()
    return connection


def test_a_deadlock_is_tried_again(locking: Database) -> None:
    tables(locking, 10)
    locking.sql("ALTER TABLE scores ADD PRIMARY KEY (id); CREATE TABLE many (id int)")
    locking.sql("INSERT INTO scores (id, score) VALUES (1, 0), (10, 0); INSERT INTO many VALUES (1)" + ", (1)" * 99)

    async def go() -> None:
        somebody = await other(locking)
        # The stream is to be the one that gives way: it waits first, or has changed less.
        if locking.system == "postgresql":
            await somebody.script("SET deadlock_timeout = '60s'")
        await somebody.execute("UPDATE many SET id = 2")
        await somebody.execute("UPDATE scores SET score = 1 WHERE id = 10")
        async with Stream(locking, into=RESULTS) as stream:
            await stream.until(lambda: locking.column(WAITING[locking.system]) == ["1"], "waiting for the row")
            await somebody.execute("UPDATE scores SET score = 1 WHERE id = 1")
            await stream.waits("eadlock")
            await somebody.commit()
            await stream.acknowledged(10)
        await somebody.close()

    asyncio.run(go())
    assert complete(locking, 10)


def test_a_transaction_that_cannot_be_serialised_is_tried_again(postgres: Database) -> None:
    tables(postgres, 50)
    postgres.sql(
        "CREATE SEQUENCE tries; CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF nextval('tries') IN (12, 13, 14, 25) THEN RAISE 'not serialisable' USING ERRCODE = '40001'; END IF; "
        "RETURN NEW; END $$; CREATE TRIGGER refuse BEFORE INSERT ON scores FOR EACH ROW EXECUTE FUNCTION refuse()"
    )

    async def go() -> None:
        async with Stream(postgres) as stream:
            await stream.acknowledged(50)
            assert stream.status.retries > 1

    asyncio.run(go())
    assert complete(postgres, 50)


def test_a_row_that_is_locked_for_too_long_is_waited_for(locking: Database) -> None:
    tables(locking, 30)
    locking.sql("ALTER TABLE scores ADD PRIMARY KEY (id); INSERT INTO scores (id, score) VALUES (25, 0)")

    async def go() -> None:
        somebody = await other(locking)
        await somebody.execute("UPDATE scores SET score = 1 WHERE id = 25")
        limits = {"limits": {"lock": 1}}
        async with Stream(locking, limits, RESULTS | limits) as stream:
            await stream.waits("imeout")
            await somebody.commit()
            await stream.acknowledged(30)
        await somebody.close()

    asyncio.run(go())
    assert complete(locking, 30)


def test_a_model_that_is_slower_than_a_transaction_may_be_is_told(
    locking: Database, caplog: pytest.LogCaptureFixture
) -> None:
    tables(locking, 40)
    free = "SELECT count(*) FROM (SELECT id FROM claims WHERE status = 'new' FOR UPDATE SKIP LOCKED) s"

    async def go() -> None:
        async with Stream(locking, {"limits": {"idle": 1}}, held=2) as stream:
            await stream.held()
            await stream.until(lambda: locking.column(free) == ["20"], "the end of the transactions")
            stream.model.open.set()
            await stream.acknowledged(40)

    asyncio.run(go())
    assert complete(locking, 40)
    assert re.search(r"the transaction that held claims .1….0 is over: limits.idle is 1 s, and the model", caplog.text)
