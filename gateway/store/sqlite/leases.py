"""Leases in a file of their own, `<state>/leases.db`: the control state belongs to the gateway, which locks it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from gateway.store.leases import Held
from gateway.store.sqlite.database import Database

FILE: Final = "leases.db"


class SqliteLeases:
    """`Leases`.

    That a commit is on the disk matters here, too: an epoch that was handed out may not come again.
    """

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Self]:
        """`folder` is the state folder, made where needed."""
        path = folder / FILE
        async with Database(f"leases '{path}'", path, _prepare) as database:
            yield cls(database)

    async def acquire(self, name: str, owner: str, seconds: float) -> int | None:
        def take(db: sqlite3.Connection) -> int | None:
            row = db.execute(
                "INSERT INTO leases VALUES (?1, ?2, 1, (SELECT now FROM clock) + ?3)"
                " ON CONFLICT (name) DO UPDATE SET owner = ?2, epoch = epoch + 1, until = excluded.until"
                " WHERE until <= (SELECT now FROM clock) RETURNING epoch",
                (name, owner, seconds),
            ).fetchone()
            return row[0] if row else None

        return await self._database.write(take)

    async def renew(self, name: str, owner: str, epoch: int, seconds: float) -> bool:
        def renew(db: sqlite3.Connection) -> bool:
            return bool(
                db.execute(
                    "UPDATE leases SET until = (SELECT now FROM clock) + ? WHERE name = ? AND owner = ? AND epoch = ?",
                    (seconds, name, owner, epoch),
                ).rowcount
            )

        return await self._database.write(renew)

    async def release(self, name: str, owner: str, epoch: int) -> None:
        def release(db: sqlite3.Connection) -> None:
            db.execute("UPDATE leases SET until = 0 WHERE name = ? AND owner = ? AND epoch = ?", (name, owner, epoch))

        await self._database.write(release)

    async def holder(self, name: str) -> Held | None:
        def read(db: sqlite3.Connection) -> Held | None:
            row = db.execute(
                "SELECT owner, epoch, until - (SELECT now FROM clock) FROM leases WHERE name = ?", (name,)
            ).fetchone()
            return Held(*row) if row else None

        return await self._database.read(read)


def _prepare(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE IF NOT EXISTS leases"
        " (name TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch INTEGER NOT NULL, until REAL NOT NULL)"
    )
    # seconds since 1970, to the millisecond
    db.execute("CREATE VIEW IF NOT EXISTS clock AS SELECT (julianday('now') - 2440587.5) * 86400.0 AS now")
