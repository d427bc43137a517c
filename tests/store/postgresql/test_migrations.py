"""The schema: made once, the same as SQLite's, refused where it is newer."""

import asyncio
import sqlite3
from dataclasses import replace

import pytest
from servers.postgresql import Databases

from gateway.store.contract import Act, State, Unusable
from gateway.store.postgresql import migrations, tables
from gateway.store.postgresql.store import PostgresqlStore
from gateway.store.sqlite import migrations as sqlite_migrations

ACT = Act("ann", "here", "test", "m")


def test_the_tables_are_those_of_sqlite_and_what_several_machines_need() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    sqlite_migrations.migrate(connection, "test")
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    simple = {
        name: {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
        for name in names
        if not name.startswith("sqlite_")
    }
    connection.close()
    columns = {table.name: {column.name for column in table.c} for table in tables.metadata.tables.values()}
    assert columns.pop("machines")
    columns["audit"] -= {"machine", "mark"}
    assert columns == simple
    assert len(migrations.STEPS) == len(sqlite_migrations.STEPS)


def test_the_database_has_what_the_tables_say(postgresql: Databases, postgresql_database: str) -> None:
    async def go() -> None:
        async with PostgresqlStore(postgresql_database, None, "a") as store:
            await store.read()

    asyncio.run(go())

    there = postgresql.sql(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'sluice'",
        postgresql_database,
    )
    known = [(table.name, column.name) for table in tables.metadata.tables.values() for column in table.c]
    assert sorted(there) == sorted(known)


def test_gateways_that_start_together_make_the_tables_once(postgresql: Databases, postgresql_database: str) -> None:
    async def start(number: int) -> State:
        async with PostgresqlStore(postgresql_database, None, str(number)) as store:
            return await store.read()

    async def go() -> None:
        assert await asyncio.gather(*map(start, range(6))) == [State()] * 6

    asyncio.run(go())
    steps = postgresql.sql("SELECT version FROM sluice.migrations ORDER BY 1", postgresql_database)
    assert steps == [(str(number),) for number in range(1, len(migrations.STEPS) + 1)]


def test_a_newer_schema_is_refused(postgresql: Databases, postgresql_database: str) -> None:
    async def go() -> None:
        async with PostgresqlStore(postgresql_database, None, "old") as store:
            await store.read()
            postgresql.sql("INSERT INTO sluice.migrations VALUES (99, 0)", postgresql_database)
            # one that runs goes on reading, and changes nothing
            assert await store.read() == State()
            with pytest.raises(Unusable, match=r"has schema 99, this Sluice knows \d+: it was written by a newer one"):
                await store.change(None, lambda state: replace(state, labels={"m": {}}), ACT)
        async with PostgresqlStore(postgresql_database, None, "new") as store:
            with pytest.raises(Unusable, match="has schema 99"):
                await store.read()

    asyncio.run(go())


def test_a_database_of_an_older_gateway_takes_the_steps_that_are_missing(
    postgresql: Databases, postgresql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as old:
        old.setattr(migrations, "STEPS", migrations.STEPS[:1])

        async def first() -> None:
            async with PostgresqlStore(postgresql_database, None, "old") as store:
                await store.audit()

        asyncio.run(first())
    assert postgresql.sql("SELECT max(version) FROM sluice.migrations", postgresql_database) == [("1",)]

    async def second() -> State:
        async with PostgresqlStore(postgresql_database, None, "new") as store:
            return await store.read()

    assert asyncio.run(second()) == State()
