"""The control state in one SQLite file: `<state>/control.db`, for one gateway on one machine."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec

from gateway.core.errors import Conflict, NotFound, Unavailable
from gateway.store.contract import Act, AuditEntry, Mutation, State
from gateway.store.lock import FolderLock
from gateway.store.migrations import migrate
from gateway.store.rows import KINDS, changes, new_blobs, state_of, text

FILE: Final = "control.db"

T = TypeVar("T")
_json = msgspec.json


class SqliteStore:
    """A `Store`. `folder` is the state folder, which it locks; None: in memory, for tests and for trying out.

    Everything runs on one thread of its own, because a commit waits for the disk.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = FolderLock(folder) if folder else None
        self._name = str(folder / FILE) if folder else ":memory:"
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        if self._lock:
            self._lock.acquire()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        try:
            self._connection = await self._do(lambda: connect(self._name))
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection:
            await self._do(self._connection.close)
            self._connection = None
        if self._thread:
            self._thread.shutdown(wait=False)
            self._thread = None
        if self._lock:
            self._lock.release()

    async def read(self) -> State:
        return await self._do(lambda: self._transaction("BEGIN", self._state))

    async def change(
        self, expected: int | None, mutation: Mutation, act: Act, blobs: Mapping[str, bytes] | None = None
    ) -> State:
        def write(db: sqlite3.Connection) -> State:
            old = self._state(db)
            if expected is not None and expected != old.revision:
                raise Conflict(f"the control state is at revision {old.revision}, not {expected}")
            new = replace(mutation(old), revision=old.revision + 1)
            _write_rows(db, old, new)
            _write_blobs(db, new, blobs or {})
            write_audit(db, old.revision, new.revision, act)
            return new

        return await self._do(lambda: self._transaction("BEGIN IMMEDIATE", write))

    async def blob(self, digest: str) -> bytes:
        def read() -> bytes:
            row = self._db.execute("SELECT data FROM blobs WHERE digest = ?", (digest,)).fetchone()
            if row is None:
                raise NotFound(f"no blob {digest} in the control state")
            return bytes(row[0])

        return await self._do(read)

    async def audit(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        def read() -> list[AuditEntry]:
            rows = self._db.execute(
                "SELECT id, at, before, after, actor, origin, action, target, detail FROM audit"
                " WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT ?",
                (before, before, limit),
            )
            return [
                AuditEntry(id_, at, old, new, Act(actor, origin, action, target, _json.decode(detail)))
                for id_, at, old, new, actor, origin, action, target, detail in rows
            ]

        return await self._do(read)

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise Unavailable(f"control state '{self._name}' is not open")
        return self._connection

    async def _do(self, work: Callable[[], T]) -> T:
        """Runs it on the store's thread. What SQLite raises becomes Unavailable."""
        if self._thread is None:
            raise Unavailable(f"control state '{self._name}' is not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"control state '{self._name}': {error}") from error

    def _transaction(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        db = self._db
        db.execute(begin)
        try:
            result = work(db)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return result

    @staticmethod
    def _state(db: sqlite3.Connection) -> State:
        (revision,) = db.execute("SELECT value FROM revision").fetchone()
        select = {kind.name: f"SELECT {', '.join(kind.columns)} FROM {kind.name}" for kind in KINDS}  # noqa: S608
        return state_of(revision, {name: db.execute(query) for name, query in select.items()})


def connect(name: str) -> sqlite3.Connection:
    """To a file, which is made and brought up to date where needed, or to `:memory:`."""
    if name != ":memory:":
        # SQLite would create it readable by all; its -wal and -shm files take over the mode.
        os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(name, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, name)
    except BaseException:
        connection.close()
        raise
    return connection


def _write_rows(db: sqlite3.Connection, old: State, new: State) -> None:
    for kind, gone, rows in changes(old, new):
        db.executemany(f"DELETE FROM {kind.name} WHERE {kind.columns[0]} = ?", [(key,) for key in gone])  # noqa: S608
        marks = ", ".join("?" * len(kind.columns))
        columns = ", ".join(kind.columns)
        db.executemany(f"INSERT OR REPLACE INTO {kind.name} ({columns}) VALUES ({marks})", rows)  # noqa: S608
    db.execute("UPDATE revision SET value = ?", (new.revision,))


def _write_blobs(db: sqlite3.Connection, new: State, blobs: Mapping[str, bytes]) -> None:
    have = {digest for (digest,) in db.execute("SELECT digest FROM blobs")}
    fresh, gone = new_blobs(new, have, blobs)
    db.executemany("INSERT INTO blobs VALUES (?, ?)", fresh.items())
    db.executemany("DELETE FROM blobs WHERE digest = ?", [(digest,) for digest in gone])


def write_audit(db: sqlite3.Connection, before: int, after: int, act: Act) -> None:
    db.execute(
        "INSERT INTO audit (at, before, after, actor, origin, action, target, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (time.time(), before, after, act.actor, act.origin, act.action, act.target, text(act.detail)),
    )
