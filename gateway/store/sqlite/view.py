"""The control state of a gateway that runs beside this process: read, not locked, and never changed; but for the audit
trail, which this process may add to.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

from gateway.core.errors import NotFound, Unavailable
from gateway.store.contract import Act, State
from gateway.store.sqlite import tables
from gateway.store.sqlite.database import connect, transaction
from gateway.store.sqlite.migrations import migrate
from gateway.store.sqlite.store import FILE

T = TypeVar("T")


class SqliteView:
    """Opened anew for each look: the gateway may come and go, and where there never was one the state is empty."""

    def __init__(self, folder: Path) -> None:
        self._path: Final = folder / FILE
        self._name: Final = f"control state '{self._path}'"

    async def read(self) -> State:
        return await self._look(tables.read_state, State())

    async def blob(self, digest: str) -> bytes:
        found = await self._look(lambda db: tables.read_blob(db, digest), None)
        if found is None:
            raise NotFound(f"no blob {digest} in the control state")
        return found

    async def note(self, act: Act) -> None:
        def write(db: sqlite3.Connection) -> None:
            revision = tables.read_revision(db)
            tables.write_audit(db, revision, revision, act)

        def open_and_write() -> None:
            with closing(connect(self._path, lambda db: migrate(db, self._name))) as db:
                transaction(db, "BEGIN IMMEDIATE", write)

        await self._do(open_and_write)

    async def _look(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        def look() -> T:
            if not self._path.exists():
                return nothing
            # not mode=ro: a reader of a write-ahead log may have to rebuild its index
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=rw", timeout=5, uri=True)) as db:
                db.execute("PRAGMA query_only = ON")
                if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'revision'").fetchone():
                    return nothing
                return transaction(db, "BEGIN", work)

        return await self._do(look)

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"{self._name}: {error}") from error
