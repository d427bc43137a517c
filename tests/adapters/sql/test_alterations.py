"""Columns and tables that change, go and come back in the middle of a run."""

from __future__ import annotations

import asyncio

import pytest
from sql_database import Database
from sql_stream import Stream, complete, tables

ROWS = 1500
#: what is done, how it is undone, and what the stream says meanwhile
GONE = {
    "an input column": (
        "ALTER TABLE claims RENAME COLUMN x TO y", "ALTER TABLE claims RENAME COLUMN y TO x", "no column 'x'"
    ),
    "the status": (
        "DROP INDEX {status}; ALTER TABLE claims RENAME COLUMN status TO state",
        "ALTER TABLE claims RENAME COLUMN state TO status; CREATE INDEX claims_status ON claims (status)",
        "no column 'status'",
    ),
    "a result column": (
        "ALTER TABLE scores RENAME COLUMN score TO points", "ALTER TABLE scores RENAME COLUMN points TO score",
        "no column 'score'",
    ),
    "the results": (
        "ALTER TABLE scores RENAME TO old", "ALTER TABLE old RENAME TO scores", "no table 'scores'"
    ),
    "the input": ("ALTER TABLE claims RENAME TO old", "ALTER TABLE old RENAME TO claims", "no table 'claims'"),
}  # fmt: skip


def changed(database: Database, statement: str) -> str:
    index = "claims_status ON claims" if database.system == "mariadb" else "claims_status"
    return statement.format(status=index)


@pytest.mark.parametrize("what", GONE)
def test_what_goes_is_named_and_waited_for(database: Database, what: str) -> None:
    tables(database, ROWS)
    harm, mend, says = (changed(database, each) for each in GONE[what])

    async def go() -> None:
        async with Stream(database) as stream:
            await stream.acknowledged(20)
            await stream.sql(harm)
            await stream.waits(says)
            assert stream.status.acknowledged < ROWS
            await stream.sql(mend)
            await stream.acknowledged(ROWS)

    asyncio.run(go())
    assert complete(database, ROWS)


#: of SQLite types are known as they were when the stream was connected
RETYPED = {"postgresql": "ALTER TABLE {} ALTER {} TYPE {}", "mariadb": "ALTER TABLE {} MODIFY {} {}"}


def test_an_input_column_of_another_type(locking: Database) -> None:
    """Numbers are numbers, and what is none any more is a dead letter."""
    tables(locking, ROWS)
    retyped = RETYPED[locking.system]

    async def go() -> None:
        async with Stream(locking) as stream:
            await stream.acknowledged(20)
            await stream.sql(retyped.format("claims", "x", "numeric(12, 2)"))
            await stream.until(lambda: stream.status.acknowledged > ROWS // 2, "half of the rows")
            await stream.sql(retyped.format("claims", "x", "text"))
            await stream.acknowledged(ROWS)

    asyncio.run(go())
    failed = locking.sql("SELECT id, reason FROM claims WHERE status = 'failed' ORDER BY id")
    assert failed
    for name, reason in failed:
        assert reason == f"x: '{name}.00' is no number"
    assert complete(locking, ROWS, [int(name) for name, _ in failed])


def test_a_result_column_of_another_type(locking: Database) -> None:
    """A score is the same number there, never its bytes taken for another's."""
    tables(locking, ROWS)

    async def go() -> None:
        async with Stream(locking, held=2) as stream:
            await stream.held()
            await stream.sql(RETYPED[locking.system].format("scores", "score", "bigint"))
            stream.model.open.set()
            await stream.acknowledged(ROWS)

    asyncio.run(go())
    assert complete(locking, ROWS)


def test_a_result_column_that_cannot_hold_a_score(locking: Database) -> None:
    tables(locking, 100)
    harm = "DELETE FROM scores; ALTER TABLE scores DROP COLUMN score; ALTER TABLE scores ADD score "

    async def go() -> None:
        async with Stream(locking, held=2) as stream:
            await stream.held()
            await stream.sql(harm + {"postgresql": "date", "mariadb": "decimal(2, 1)"}[locking.system])
            stream.model.open.set()
            await stream.acknowledged(100)

    asyncio.run(go())
    failed = locking.sql("SELECT id, reason FROM claims WHERE status = 'failed'")
    assert len(failed) == 80
    assert all("score" in reason for _, reason in failed)
    assert locking.column("SELECT count(*) FROM scores") == ["0"]
    assert locking.column("SELECT count(*) FROM claims WHERE status = 'done'") == ["20"]


def test_a_table_that_is_dropped_and_made_again(database: Database) -> None:
    """With its columns in another order, and of other types."""
    tables(database, ROWS)

    async def go() -> None:
        async with Stream(database) as stream:
            await stream.acknowledged(20)
            await stream.sql("DROP TABLE claims; DROP TABLE scores")
            await stream.waits("no table")
            assert stream.status.acknowledged < ROWS
            await stream.sql(
                f"CREATE TABLE scores (more int, score {database.double}, id bigint);"
                f"CREATE TABLE claims (label varchar(20), x int, id int PRIMARY KEY, reason varchar(200), "
                f"score int, claimed_by varchar(32), claimed_until {database.moment}, "
                "status varchar(10) NOT NULL DEFAULT 'new');"
                "CREATE INDEX claims_status ON claims (status)"
            )
            before = stream.status.acknowledged
            await asyncio.to_thread(database.add, range(1, ROWS + 1))
            await stream.acknowledged(before + ROWS)

    asyncio.run(go())
    assert complete(database, ROWS)
