"""SQLite off the event loop: one file, one connection, one thread."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from gateway.core.errors import Unavailable

T = TypeVar("T")

#: makes what a file that was just opened lacks
Preparation = Callable[[sqlite3.Connection], None]


class Database:
    """Everything runs on one thread of its own, because a commit waits for the disk.

    name      as messages call it: ``control state '<path>'``
    path      None: in memory. The folder is made where needed
    prepare   called on the thread, once it is open

    What SQLite raises becomes Unavailable; the errors of who works on it stay as they are, and undo the work.
    """

    def __init__(self, name: str, path: Path | None, prepare: Preparation) -> None:
        self._name = name
        self._path = path
        self._prepare = prepare
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
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

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """All that it reads is of one moment."""
        return await self._do(lambda: transaction(self._opened(), "BEGIN", work))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Whole or not at all, and on the disk when it returns."""
        return await self._do(lambda: transaction(self._opened(), "BEGIN IMMEDIATE", work))

    def _open(self) -> sqlite3.Connection:
        if self._path is not None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return connect(self._path, self._prepare)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise self._closed()
        return self._connection

    def _closed(self) -> Unavailable:
        return Unavailable(f"{self._name} is not open")

    async def _do(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            raise self._closed()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"{self._name}: {error}") from error


def connect(path: Path | None, prepare: Preparation) -> sqlite3.Connection:
    """A file is made where needed, for its owner alone. What is committed outlives a loss of power."""
    if path is not None:
        # SQLite would create it readable by all; its -wal and -shm files take over the mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path or ":memory:", timeout=5, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def transaction(db: sqlite3.Connection, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
    db.execute(begin)
    try:
        result = work(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return result
