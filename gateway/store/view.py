"""The control state of a gateway that runs beside this process: read, never written, and not locked."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol, TypeVar

from gateway.core.errors import NotFound, Unavailable
from gateway.store.contract import State
from gateway.store.sqlite import FILE, SqliteStore

T = TypeVar("T")


class View(Protocol):
    """What of a store is needed to follow it. All raise Unavailable."""

    async def read(self) -> State: ...

    async def blob(self, digest: str) -> bytes:
        """Raises NotFound."""
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

        try:
            return await asyncio.to_thread(look)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"control state '{self._path}': {error}") from error
