"""The schema, as the steps that lead to it, the same as SQLite's by number and by what they keep.

A step that was released never changes; a new one is added. Steps only add: while gateways are replaced one after the
other, older ones go on reading.
"""

from __future__ import annotations

import time
from typing import Final

from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.contract import Unusable
from gateway.store.postgresql import tables
from gateway.store.postgresql.database import Database
from gateway.store.postgresql.tables import SCHEMA

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        'CREATE TABLE {}.revision ("only" bigint PRIMARY KEY CHECK ("only" = 1), value bigint NOT NULL)',
        "INSERT INTO {}.revision VALUES (1, 0)",
        "CREATE TABLE {}.models (name text PRIMARY KEY, loaded boolean NOT NULL, generation bigint NOT NULL,"
        " config text NOT NULL, files text NOT NULL)",
        "CREATE TABLE {}.splits (model text PRIMARY KEY, salt text NOT NULL, arms text NOT NULL)",
        "CREATE TABLE {}.labels (model text PRIMARY KEY, labels text NOT NULL)",
        "CREATE TABLE {}.blobs (digest text PRIMARY KEY, data bytea NOT NULL)",
        "CREATE TABLE {}.audit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at double precision NOT NULL,"
        " before bigint NOT NULL, after bigint NOT NULL, actor text NOT NULL, origin text NOT NULL,"
        " action text NOT NULL, target text NOT NULL, detail text NOT NULL, machine text NOT NULL,"
        " mark text NOT NULL)",
        "CREATE TABLE {}.machines (id text PRIMARY KEY, home text NOT NULL, name text NOT NULL, program text NOT NULL,"
        " revision bigint NOT NULL, troubles text NOT NULL, seen timestamptz NOT NULL)",
    ),
    (
        "CREATE TABLE {}.keys (id text PRIMARY KEY, name text NOT NULL, digest text NOT NULL, allow text NOT NULL,"
        " created double precision NOT NULL, expires double precision NOT NULL)",
    ),
)

#: of the advisory lock: "sluice" in ASCII
_LOCK: Final = 0x736C75696365
#: seconds for all steps, and for another gateway's
LIMIT: Final = 60.0


async def migrate(database: Database) -> None:
    """Takes the steps that are missing, all or none; of gateways that start together one does.

    Raises Unusable where a newer Sluice wrote the store: an older one would lose what it does not know.
    """
    async with database.transaction(LIMIT) as connection:
        # who has nothing to do needs no right to create anything
        if await _version(connection, database) == len(STEPS):
            return
        await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        version = await _version(connection, database)
        if version is None:
            await connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        if not version:
            await connection.execute(
                text(
                    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.migrations (version bigint PRIMARY KEY, at double precision)"
                )
            )
        for number, step in enumerate(STEPS[version or 0 :], (version or 0) + 1):
            for statement in step:
                await connection.execute(text(statement.format(SCHEMA)))
            await connection.execute(insert(tables.migrations).values(version=number, at=time.time()))


async def check(connection: AsyncConnection, database: Database) -> None:
    """Raises Unusable where a newer Sluice has changed the schema since."""
    await _version(connection, database)


async def _version(connection: AsyncConnection, database: Database) -> int | None:
    """0 where nothing is there yet, None where even the schema is not."""
    # not to_regclass: within a transaction it may repeat what it found before another gateway made the tables
    there, table = (
        await connection.execute(
            text(
                "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = :schema),"
                " EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON c.relnamespace = n.oid"
                " WHERE nspname = :schema AND relname = 'migrations')"
            ),
            {"schema": SCHEMA},
        )
    ).one()
    if not table:
        return 0 if there else None
    version = (await connection.execute(select(func.max(tables.migrations.c.version)))).scalar() or 0
    if version > len(STEPS):
        raise Unusable(
            f"control state '{database.name}' has schema {version}, this Sluice knows {len(STEPS)}:"
            " it was written by a newer one"
        )
    return int(version)
