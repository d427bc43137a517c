"""The control state in one SQLite file: `<state>/control.db`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gateway.core.errors import Conflict, NotFound
from gateway.store.contract import Act, AuditEntry, Mutation, State
from gateway.store.lock import FolderLock
from gateway.store.sqlite import tables
from gateway.store.sqlite.database import Database
from gateway.store.sqlite.migrations import migrate

FILE: Final = "control.db"


class SqliteStore:
    """A `Store`. `folder` is the state folder, which it locks; None: in memory, for tests and for trying out."""

    def __init__(self, folder: Path | None) -> None:
        path = folder / FILE if folder else None
        name = f"control state '{path or ':memory:'}'"
        self._lock = FolderLock(folder) if folder else None
        self._database = Database(name, path, lambda db: migrate(db, name))

    async def __aenter__(self) -> Self:
        if self._lock:
            self._lock.acquire()
        try:
            await self._database.__aenter__()
        except BaseException:
            self._unlock()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._database.__aexit__(kind, error, trace)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock:
            self._lock.release()

    async def read(self) -> State:
        return await self._database.read(tables.read_state)

    async def change(
        self, expected: int | None, mutation: Mutation, act: Act, blobs: Mapping[str, bytes] | None = None
    ) -> State:
        def write(db: sqlite3.Connection) -> State:
            old = tables.read_state(db)
            if expected is not None and expected != old.revision:
                raise Conflict(f"the control state is at revision {old.revision}, not {expected}")
            new = replace(mutation(old), revision=old.revision + 1)
            tables.write_state(db, old, new)
            tables.write_blobs(db, new, blobs or {})
            tables.write_audit(db, old.revision, new.revision, act)
            return new

        return await self._database.write(write)

    async def blob(self, digest: str) -> bytes:
        found = await self._database.read(lambda db: tables.read_blob(db, digest))
        if found is None:
            raise NotFound(f"no blob {digest} in the control state")
        return found

    async def audit(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        return await self._database.read(lambda db: tables.read_audit(db, limit, before))
