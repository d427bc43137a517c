"""Who of several processes does what only one may do: leases by name, each with an epoch that grows.

The lease elects; the epoch, which every write can carry, fences whoever went on in spite of it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from gateway.core.errors import Unavailable

FILE: Final = "leases.db"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Held:
    """Who has a lease, and for how many seconds more by the store's clock; below 0 it has run out."""

    owner: str
    epoch: int
    left: float


class Leases(Protocol):
    """Times are by the store's clock. All raise Unavailable when the store is gone."""

    async def acquire(self, name: str, owner: str, seconds: float) -> int | None:
        """A new epoch, greater than any before; None while another owner's lease runs."""
        ...

    async def renew(self, name: str, owner: str, epoch: int, seconds: float) -> bool:
        """False where it is another one's by now: it is not to be used any more."""
        ...

    async def release(self, name: str, owner: str, epoch: int) -> None:
        """So that another process need not wait for it to run out."""
        ...

    async def holder(self, name: str) -> Held | None: ...


class SqliteLeases:
    """In a file of its own, `<folder>/leases.db`: the control state belongs to the gateway, which locks it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="leases")
        try:
            self._connection = await self._do(self._open)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._do(self._connection.close)
            self._connection = None
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None

    async def acquire(self, name: str, owner: str, seconds: float) -> int | None:
        def take(db: sqlite3.Connection) -> int | None:
            row = db.execute(
                "INSERT INTO leases VALUES (?1, ?2, 1, (SELECT now FROM clock) + ?3)"
                " ON CONFLICT (name) DO UPDATE SET owner = ?2, epoch = epoch + 1, until = excluded.until"
                " WHERE until <= (SELECT now FROM clock) RETURNING epoch",
                (name, owner, seconds),
            ).fetchone()
            return row[0] if row else None

        return await self._write(take)

    async def renew(self, name: str, owner: str, epoch: int, seconds: float) -> bool:
        def renew(db: sqlite3.Connection) -> bool:
            return bool(
                db.execute(
                    "UPDATE leases SET until = (SELECT now FROM clock) + ? WHERE name = ? AND owner = ? AND epoch = ?",
                    (seconds, name, owner, epoch),
                ).rowcount
            )

        return await self._write(renew)

    async def release(self, name: str, owner: str, epoch: int) -> None:
        def release(db: sqlite3.Connection) -> None:
            db.execute("UPDATE leases SET until = 0 WHERE name = ? AND owner = ? AND epoch = ?", (name, owner, epoch))

        await self._write(release)

    async def holder(self, name: str) -> Held | None:
        def read() -> Held | None:
            row = self._db.execute(
                "SELECT owner, epoch, until - (SELECT now FROM clock) FROM leases WHERE name = ?", (name,)
            ).fetchone()
            return Held(*row) if row else None

        return await self._do(read)

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise Unavailable(f"the leases in '{self._path}' are not open")
        return self._connection

    def _open(self) -> sqlite3.Connection:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would create it readable by all
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # an epoch that was handed out may not come again, not even after a loss of power
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS leases"
                " (name TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch INTEGER NOT NULL, until REAL NOT NULL)"
            )
            # seconds since 1970, to the millisecond
            connection.execute(
                "CREATE VIEW IF NOT EXISTS clock AS SELECT (julianday('now') - 2440587.5) * 86400.0 AS now"
            )
        except BaseException:
            connection.close()
            raise
        return connection

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction() -> T:
            db = self._db
            db.execute("BEGIN IMMEDIATE")
            try:
                result = work(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return result

        return await self._do(transaction)

    async def _do(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            raise Unavailable(f"the leases in '{self._path}' are not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"the leases in '{self._path}': {error}") from error
