"""Leases in PostgreSQL: processes of several machines share out what only one of them may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from sqlalchemy import text

from gateway.store.leases import Held
from gateway.store.postgresql.database import Database

#: not the control state's schema: who runs streams need not be allowed to change that
SCHEMA: Final = "sluice_streams"
#: of the advisory lock: "leases" in ASCII
_LOCK: Final = 0x6C6561736573

_ACQUIRE: Final = text(
    f"INSERT INTO {SCHEMA}.leases VALUES (:name, :owner, 1, clock_timestamp() + make_interval(secs => :seconds))"  # noqa: S608
    " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, epoch = leases.epoch + 1, until = excluded.until"
    " WHERE leases.until <= clock_timestamp() RETURNING epoch"
)
_RENEW: Final = text(
    f"UPDATE {SCHEMA}.leases SET until = clock_timestamp() + make_interval(secs => :seconds)"  # noqa: S608
    " WHERE name = :name AND owner = :owner AND epoch = :epoch RETURNING epoch"
)
_RELEASE: Final = text(
    f"UPDATE {SCHEMA}.leases SET until = '-infinity' WHERE name = :name AND owner = :owner AND epoch = :epoch"  # noqa: S608
    " RETURNING epoch"
)
_HOLDER: Final = text(
    "SELECT owner, epoch, extract(epoch FROM greatest(until, '1970-01-01') - clock_timestamp())::float8"  # noqa: S608
    f" FROM {SCHEMA}.leases WHERE name = :name"
)
_TABLE: Final = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.leases (name text PRIMARY KEY, owner text NOT NULL, epoch bigint NOT NULL,"
    " until timestamptz NOT NULL)",
)


class PostgresqlLeases:
    """`Leases`. Opening it connects to nothing: whatever is asked first does, and makes the table."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database
        self._made = False

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, name: str) -> AsyncIterator[Self]:
        """`name` of this machine, as the server's own views show it."""
        async with Database(url, f"sluice {name} leases") as database:
            yield cls(database)

    async def acquire(self, name: str, owner: str, seconds: float) -> int | None:
        row = await self._row(_ACQUIRE, name=name, owner=owner, seconds=seconds)
        return int(row[0]) if row else None

    async def renew(self, name: str, owner: str, epoch: int, seconds: float) -> bool:
        return bool(await self._row(_RENEW, name=name, owner=owner, epoch=epoch, seconds=seconds))

    async def release(self, name: str, owner: str, epoch: int) -> None:
        await self._row(_RELEASE, name=name, owner=owner, epoch=epoch)

    async def holder(self, name: str) -> Held | None:
        row = await self._row(_HOLDER, name=name)
        return Held(*row) if row else None

    async def _row(self, statement: Any, **values: Any) -> Any:
        if not self._made:
            await self._make()
        async with self._database.transaction() as connection:
            return (await connection.execute(statement, values)).first()

    async def _make(self) -> None:
        async with self._database.transaction() as connection:
            there = text("SELECT 1 FROM pg_tables WHERE schemaname = :schema AND tablename = 'leases'")
            # who has nothing to do needs no right to create anything
            if not (await connection.execute(there, {"schema": SCHEMA})).first():
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
                for statement in _TABLE:
                    await connection.execute(text(statement))
        self._made = True
