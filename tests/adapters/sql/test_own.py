"""Tables that somebody else made, and made wrong: the stream waits, and says which table, and what it found of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sql_database import Database

from adapters.sql.letters import SqlLetters
from gateway.core.stream import Batch, Context, Credit, DeadLetter, Message, Rows, Token, Transient
from gateway.core.table import Table

LETTERS = ("pipeline", "id", "reason", "value", "key", "headers", "lane", "position", "attempts", "model", "timestamp")


def letters(database: Database, left_out: str = "", more: str = "", **types: str) -> None:
    quote = "`" if database.system == "mariadb" else '"'
    kinds = {"attempts": "int", "timestamp": "bigint", "value": database.bytes, "key": database.bytes, **types}
    declared = [f"{quote}{name}{quote} {kinds.get(name, 'varchar(200)')}" for name in LETTERS if name != left_out]
    database.sql(f"CREATE TABLE dead ({', '.join(declared)}{more})")


def scores(database: Database, more: str = ", PRIMARY KEY (record)") -> None:
    database.sql(f"CREATE TABLE scores (record varchar(50) NOT NULL, score {database.double}{more})")


async def refused(connector: Any) -> str:
    with pytest.raises(Transient) as found:
        await connector.connect()
    await connector.close()
    return found.value.message


@pytest.mark.parametrize("name", LETTERS)
def test_each_column_of_dead_letters_is_asked_for_by_name(database: Database, name: str) -> None:
    scores(database)
    letters(database, name)
    sink = database.output("results", table="scores", id="record", dead_letters="dead")
    said = asyncio.run(refused(sink))
    assert said.startswith(f"dead_letters: table 'dead' has no column '{name}'"), said
    back = SqlLetters(
        database.output_settings("results", table="scores", id="record", dead_letters="dead"), CONTEXT, True
    )
    assert asyncio.run(refused(back)) == said


CONTEXT = Context("p")


def test_of_another_type_or_without_a_key_they_are_refused(database: Database) -> None:
    scores(database)
    letters(database, attempts="varchar(10)")
    sink = database.output("results", table="scores", id="record", dead_letters="dead")
    said = asyncio.run(refused(sink))
    assert said.startswith("dead_letters: column 'attempts' of 'dead' is "), said
    assert said.endswith("; expected int")
    database.sql("DROP TABLE dead")
    letters(database)
    assert "'dead' has no primary key or unique index of (pipeline, id)" in asyncio.run(refused(sink))
    database.sql("CREATE UNIQUE INDEX dead_key ON dead (id, pipeline)")

    async def go() -> None:
        await sink.connect()
        dead = DeadLetter(Message("x", b"\xff", b"k", (("h", b"v"),)), "broken", "t/0", "16")
        for _ in range(2):
            await sink.write(Rows(Batch(["a"], Table(("score",), [[1.0]])), Token("l", 1)), [dead])
        await sink.close()
        back = SqlLetters(
            database.output_settings("results", table="scores", id="record", dead_letters="dead"), CONTEXT, True
        )
        await back.connect()
        found = await back.read(Credit(10, 1 << 20))
        assert found is not None
        assert list(found[0].ids) == ["x"]
        await back.close()

    asyncio.run(go())
    assert database.column("SELECT count(*) FROM dead") == ["1"]


def test_positions_that_lack_a_column_are_refused(database: Database) -> None:
    scores(database)
    database.sql(
        "CREATE TABLE places (pipeline varchar(50), lane varchar(50), epoch bigint, PRIMARY KEY (pipeline, lane))"
    )
    sink = database.output("results", table="scores", id="record", positions="places")
    assert asyncio.run(refused(sink)).startswith("positions: table 'places' has no column 'position'")


def test_results_need_a_key_to_replace_each_other_by(database: Database) -> None:
    scores(database, "")
    sink = database.output("results", table="scores", id="record")
    assert asyncio.run(refused(sink)) == (
        "id: table 'scores' has no primary key or unique index of (record), so that a repeat could not replace its row;"
        " found: none"
    )
    sink = database.output("results", table="scores", match=["record", "score"])
    assert asyncio.run(refused(sink)).startswith(
        "match: table 'scores' has no primary key or unique index of (record, "
    )

    async def go() -> None:
        # appended rows need none
        sink = database.output("insert", table="scores", id="record")
        await sink.connect()
        await sink.close()

    asyncio.run(go())


def test_a_unique_constraint_is_as_good_and_a_partial_index_is_not(postgres: Database, sqlite: Database) -> None:
    def check(database: Database) -> None:
        scores(database, "")
        database.sql("CREATE UNIQUE INDEX partial_key ON scores (record) WHERE score > 1")
        sink = database.output("results", table="scores", id="record")
        assert "has no primary key or unique index of (record)" in asyncio.run(refused(sink))
        database.sql("DROP TABLE scores")
        scores(database, ", UNIQUE (record)")
        sink = database.output("results", table="scores", id="record")

        async def go() -> None:
            await sink.connect()
            for _ in range(2):
                await sink.write(Rows(Batch(["a"], Table(("score",), [[1.0]])), Token("l", 1)))
            await sink.close()

        asyncio.run(go())
        assert database.column("SELECT count(*) FROM scores") == ["1"]

    check(postgres)
    check(sqlite)


def test_results_may_go_through_a_view(postgres: Database) -> None:
    scores(postgres)
    postgres.sql("CREATE VIEW shown AS SELECT record, score FROM scores")

    async def go() -> None:
        sink = postgres.output("results", table="shown", id="record")
        await sink.connect()
        for _ in range(2):
            await sink.write(Rows(Batch(["a"], Table(("score",), [[1.0]])), Token("l", 1)))
        await sink.close()

    asyncio.run(go())
    assert postgres.column("SELECT count(*) FROM scores") == ["1"]


@pytest.mark.parametrize("name", ["state", "why"])
def test_what_an_outbox_or_a_claim_marks_has_to_be_there(locking: Database, name: str) -> None:
    locking.claims(1)
    status = {"column": "state"} if name == "state" else {"reason": "why"}
    for mode in ("claim", "outbox"):
        said = asyncio.run(refused(locking.input(mode, status=status)))
        assert f"table 'claims' has no column '{name}'" in said, said
        said = asyncio.run(refused(locking.redrive(mode, status=status)))
        assert f"table 'claims' has no column '{name}'" in said, said


def test_a_column_that_goes_while_a_batch_is_scored_is_named(database: Database) -> None:
    """Nobody looks at the table again before it writes: the database, or what is known of the table, says so."""
    database.claims(2)

    async def go() -> None:
        mode = "lease"
        source, sink = database.input(mode), database.output()
        await source.connect()
        await sink.connect()
        found = await source.read(Credit(10, 1 << 30))
        assert found is not None
        batch, token = found
        database.sql("ALTER TABLE claims DROP COLUMN score")
        with pytest.raises(Transient, match="score"):
            await sink.write(Rows(Batch(batch.ids, Table(("score",), [[1.0, 2.0]])), token))
        await source.close()
        await sink.close()

    asyncio.run(go())
