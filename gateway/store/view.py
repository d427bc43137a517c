"""The control state of a gateway that runs beside this process: read, not locked, and never changed; but for the audit
trail, which this process may add to.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol, TypeVar

from gateway.core.errors import NotFound, Unavailable
from gateway.store.contract import Act, State
from gateway.store.sqlite import FILE, SqliteStore, connect, write_audit

T = TypeVar("T")


class View(Protocol):
    """What of a store is needed to follow it. All raise Unavailable."""

    async def read(self) -> State: ...

    async def blob(self, digest: str) -> bytes:
        """Raises NotFound."""
        ...


class Notebook(View, Protocol):
    """A view that takes notes of what was done beside the gateway."""

    async def note(self, act: Act) -> None:
        """A line of the trail for what is no part of the control state, whose revision stays as it is."""
        ...


class SqliteView:
    """Opened anew for each look: the gateway may come and go, and where there never was one the state is empty."""

    def __init__(self, folder: Path) -> None:
        self._path: Final = folder / FILE

    async def read(self) -> State:
        def read(db: sqlite3.Connection) -> State:
            db.execute("BEGIN")
            return SqliteStore._state(db)

        return await self._look(read, State())

    async def blob(self, digest: str) -> bytes:
        def read(db: sqlite3.Connection) -> bytes:
            row = db.execute("SELECT data FROM blobs WHERE digest = ?", (digest,)).fetchone()
            return bytes(row[0]) if row else b""

        found = await self._look(read, b"")
        if not found:
            raise NotFound(f"no blob {digest} in the control state")
        return found

    async def note(self, act: Act) -> None:
        def write() -> None:
            with closing(connect(str(self._path))) as db:
                db.execute("BEGIN IMMEDIATE")
                (revision,) = db.execute("SELECT value FROM revision").fetchone()
                write_audit(db, revision, revision, act)
                db.execute("COMMIT")

        await self._do(write)

    async def _look(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        def look() -> T:
            if not self._path.exists():
                return nothing
            # not mode=ro: a reader of a write-ahead log may have to rebuild its index
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=rw", timeout=5, uri=True)) as db:
                db.execute("PRAGMA query_only = ON")
                if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'revision'").fetchone():
                    return nothing
                return work(db)

        return await self._do(look)

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"control state '{self._path}': {error}") from error
