"""SQLite by the standard library, in a thread of each connection's own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from adapters.sql.address import Address
from adapters.sql.connection import Connection, Row
from adapters.sql.dialect import Change, Dialect, Opener
from adapters.sql.schema import Column, Kind, Layout, reflect
from adapters.sql.settings import Limits
from gateway.core.errors import SluiceError
from gateway.core.stream import DataError, Transient

T = TypeVar("T")


class SQLiteConnection(Connection):
    errors = (sqlite3.Error, OverflowError)
    #: the lock is taken at once: a transaction that reads first could not get it later
    beginning = "BEGIN IMMEDIATE"

    def __init__(self, driver: sqlite3.Connection, thread: ThreadPoolExecutor, limit: float) -> None:
        super().__init__(driver, limit)
        self._thread = thread
        self._alive = True

    @property
    def alive(self) -> bool:
        return self._alive

    def terminate(self) -> None:
        if self._alive:
            self._alive = False
            self.driver.interrupt()
            self._thread.submit(self.driver.close)
            self._thread.shutdown(wait=False)

    async def close(self) -> None:
        if self._alive:
            self._alive = False
            await asyncio.get_running_loop().run_in_executor(self._thread, self.driver.close)
            self._thread.shutdown(wait=False)

    def translate(self, error: BaseException) -> SluiceError:
        at_fault = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, OverflowError)
        if isinstance(error, at_fault) and self._alive:
            return DataError(f"SQLite: {error}")
        return Transient(f"SQLite: {error}")

    async def call(self, function: Callable[[], T]) -> T:
        if not self._alive:
            raise Transient("SQLite: the connection is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def _fetch(self, sql: str, values: Sequence[Any]) -> Sequence[Row]:
        return await self.call(lambda: self.driver.execute(sql, values).fetchall())

    async def _execute(self, sql: str, values: Sequence[Any]) -> int:
        return await self.call(lambda: self.driver.execute(sql, values).rowcount)

    async def _script(self, sql: str) -> None:
        await self._execute(sql, ())

    async def many(self, sql: str, rows: list[tuple[Any, ...]]) -> int:
        """One statement for each row; returns how many rows they found together."""
        return await self.run(self.call(lambda: self.driver.executemany(sql, rows).rowcount))


class SQLite(Dialect):
    name = "sqlite"
    skips_locked = False
    #: it would store NULL
    nan = False
    now = "strftime('%Y-%m-%d %H:%M:%f', 'now')"

    async def open(self, address: Address, limits: Limits, purpose: str) -> SQLiteConnection:
        thread = ThreadPoolExecutor(1, "sqlite")
        path = Path(address.database)

        def connect() -> sqlite3.Connection:
            # A path that is mistyped is an error, not a new and empty database.
            uri = f"{path.absolute().as_uri()}?mode=rw"
            driver = sqlite3.connect(uri, uri=True, timeout=limits.lock, isolation_level=None, check_same_thread=False)
            try:
                driver.execute("PRAGMA foreign_keys = ON")
                driver.execute("SELECT count(*) FROM sqlite_master").fetchall()
            except BaseException:
                driver.close()
                raise
            return driver

        try:
            driver = await asyncio.get_running_loop().run_in_executor(thread, connect)
        except BaseException as error:
            thread.shutdown(wait=False)
            if isinstance(error, sqlite3.Error):
                raise Transient(f"{address.domain}: {error}") from error
            raise
        return SQLiteConnection(driver, thread, limits.statement + limits.lock)

    async def reflect(self, open: Opener, name: str, schema: str, field: str) -> Layout:
        connection = cast(SQLiteConnection, await open())

        def look() -> Layout:
            engine = create_engine("sqlite://", creator=lambda: connection.driver, poolclass=StaticPool)
            with engine.connect() as borrowed:
                return reflect(borrowed, name, schema, field)

        try:
            return await connection.call(look)
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise Transient(f"{field}: cannot look at table '{name}': {error}") from error
        finally:
            await connection.close()

    def quote(self, name: str) -> str:
        # In double quotes a column that is not there would be read as a text.
        return "`" + name.replace("`", "``") + "`"

    def mark(self, number: int) -> str:
        return f"?{number}"

    def later(self, seconds: float) -> str:
        return f"strftime('%Y-%m-%d %H:%M:%f', 'now', '{seconds:+f} seconds')"

    def age(self, column: str, layout: Layout) -> str:
        return f"(julianday('now') - julianday(min({self.quote(column)}))) * 86400.0"

    def values(self, column: Column, values: Sequence[Any]) -> Sequence[Any]:
        made = super().values(column, values)
        to = _WRITTEN.get(column.kind)
        return made if to is None else [None if value is None else to(value) for value in made]

    def reader(self, column: Column) -> Callable[[Any], Any] | None:
        return _READ.get(column.kind)

    async def update(self, connection: Connection, change: Change) -> int:
        sets = [f"{self.quote(name)} = ?" for name in (*change.columns, *change.same)]
        sets += [f"{self.quote(name)} = {expression}" for name, expression in change.expressions.items()]
        same = [self.value(change.layout.columns[name], value) for name, value in change.same.items()]
        columns = self._made(change, change.columns)
        table = self.table(change.layout.name, change.layout.schema)
        head = f"UPDATE {table} SET {', '.join(sets)}"
        return await self._many(connection, change, head, [*columns, *([value] * len(change) for value in same)])

    async def delete(self, connection: Connection, change: Change) -> int:
        head = f"DELETE FROM {self.table(change.layout.name, change.layout.schema)}"
        return await self._many(connection, change, head, [])

    async def _many(self, connection: Connection, change: Change, head: str, columns: list[Sequence[Any]]) -> int:
        conditions = [f"{self.quote(name)} = ?" for name in change.match]
        columns = [*columns, *self._made(change, change.match)]
        if change.fence is not None:
            name, value = change.fence
            conditions.append(f"{self.quote(name)} IS ?")
            columns.append([self.value(change.layout.columns[name], value)] * len(change))
        rows = list(zip(*columns, strict=True))
        return await cast(SQLiteConnection, connection).many(f"{head} WHERE {' AND '.join(conditions)}", rows)

    def _made(self, change: Change, columns: Mapping[str, Sequence[Any]]) -> list[Sequence[Any]]:
        return [self.values(change.layout.columns[name], column) for name, column in columns.items()]

    async def insert(self, connection: Connection, layout: Layout, columns: Mapping[str, Sequence[Any]]) -> None:
        await self._insert(connection, layout, columns, "")

    async def upsert(
        self, connection: Connection, layout: Layout, match: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> None:
        sets = ", ".join(f"{self.quote(n)} = excluded.{self.quote(n)}" for n in columns if n not in match)
        end = f" ON CONFLICT ({self.names(match)}) DO {f'UPDATE SET {sets}' if sets else 'NOTHING'}"
        await self._insert(connection, layout, columns, end)

    async def _insert(
        self, connection: Connection, layout: Layout, columns: Mapping[str, Sequence[Any]], end: str
    ) -> None:
        made = [self.values(layout.columns[name], column) for name, column in columns.items()]
        table, marks = self.table(layout.name, layout.schema), ", ".join("?" * len(columns))
        await cast(SQLiteConnection, connection).many(
            f"INSERT INTO {table} ({self.names(list(columns))}) VALUES ({marks}){end}",
            list(zip(*made, strict=True)),
        )

    async def take_over(self, connection: Connection, table: str, pipeline: str, lane: str) -> tuple[int, str | None]:
        await connection.execute(
            f"INSERT INTO {table} (pipeline, lane, epoch) VALUES (?1, ?2, 1) "
            "ON CONFLICT (pipeline, lane) DO UPDATE SET epoch = epoch + 1",
            (pipeline, lane),
        )
        rows = await connection.fetch(
            f"SELECT epoch, position FROM {table} WHERE pipeline = ?1 AND lane = ?2",
            (pipeline, lane),
        )
        return rows[0][0], rows[0][1]

    positions = (
        "(pipeline TEXT NOT NULL, lane TEXT NOT NULL, position TEXT, epoch INTEGER NOT NULL, "
        "PRIMARY KEY (pipeline, lane))"
    )
    dead_letters = (
        "(pipeline TEXT NOT NULL, id TEXT NOT NULL, reason TEXT NOT NULL, value BLOB, key BLOB, headers TEXT, "
        "lane TEXT NOT NULL, position TEXT NOT NULL, attempts INTEGER NOT NULL, model TEXT NOT NULL, "
        "timestamp INTEGER NOT NULL, "
        "at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (pipeline, id))"
    )

    async def exclusive(self, connection: Connection, name: str) -> None:
        """Every transaction that begins as ours do is."""


def _moment(value: datetime) -> str:
    return value.isoformat(" ")


#: SQLite has no such types: text that its own functions understand, and that sorts as the values do
_WRITTEN: dict[Kind, Callable[[Any], Any]] = {
    Kind.BOOLEAN: int,
    Kind.DECIMAL: str,
    Kind.DATE: date.isoformat,
    Kind.TIME: time.isoformat,
    Kind.DATETIME: _moment,
    Kind.INSTANT: _moment,
    Kind.UUID: str,
}
_READ: dict[Kind, Callable[[Any], Any]] = {
    Kind.BOOLEAN: lambda value: {0: False, 1: True}[value],
    Kind.DECIMAL: lambda value: Decimal(str(value)),
    Kind.BYTES: lambda value: value.encode() if isinstance(value, str) else value,
    Kind.DATE: date.fromisoformat,
    Kind.TIME: time.fromisoformat,
    Kind.DATETIME: datetime.fromisoformat,
    Kind.INSTANT: datetime.fromisoformat,
    Kind.UUID: UUID,
}
