"""MariaDB and MySQL by asyncmy: many rows as one derived table, or as one INSERT."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, cast

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from adapters.sql.address import Address
from adapters.sql.connection import Connection
from adapters.sql.dialect import Change, Dialect, Opener
from adapters.sql.mariadb_connection import MariaDBConnection, opened
from adapters.sql.schema import Column, Columns, Kind, Layout, reflect
from adapters.sql.settings import Limits
from gateway.core.stream import DataError, Transient

#: rows of one statement
CHUNK = 1000

#: of a table's columns; SQLAlchemy tells those that differ from the table's
_COLLATIONS = """
    SELECT column_name, collation_name FROM information_schema.columns
    WHERE table_schema = COALESCE(NULLIF(%s, ''), DATABASE()) AND table_name = %s
"""


class MariaDB(Dialect):
    name = "mariadb"
    now = "UTC_TIMESTAMP(6)"
    nan = infinity = False

    async def open(self, address: Address, limits: Limits, purpose: str) -> MariaDBConnection:
        return await opened(address, limits)

    async def reflect(self, open: Opener, name: str, schema: str, field: str) -> Layout:
        connection = await open()

        async def lend() -> Any:
            return connection.driver

        engine = create_async_engine("mysql+asyncmy://", async_creator=lend, poolclass=NullPool)
        try:
            collations: dict[str, str] = {
                row[0]: row[1] or "" for row in await connection.fetch(_COLLATIONS, (schema, name))
            }
            async with engine.connect() as borrowed:
                layout = await borrowed.run_sync(reflect, name, schema, field)
        except (SQLAlchemyError, *MariaDBConnection.errors) as error:
            raise Transient(f"{field}: cannot look at table '{name}': {error}") from error
        finally:
            await engine.dispose()
            connection.terminate()
        columns = {n: replace(column, collation=collations.get(n, "")) for n, column in layout.columns.items()}
        return replace(layout, columns=Columns(name, columns))

    def quote(self, name: str) -> str:
        return "`" + name.replace("`", "``").replace("%", "%%") + "`"

    def mark(self, number: int) -> str:
        return "%s"

    def text(self, sql: str) -> str:
        return sql.replace("%", "%%")

    def later(self, seconds: float) -> str:
        return f"UTC_TIMESTAMP(6) + INTERVAL {seconds:f} SECOND"

    def age(self, column: str, layout: Layout) -> str:
        return f"TIMESTAMPDIFF(MICROSECOND, min({self.quote(column)}), UTC_TIMESTAMP(6)) / 1e6"

    def reader(self, column: Column) -> Callable[[Any], Any] | None:
        return {0: False, 1: True}.__getitem__ if column.kind is Kind.BOOLEAN else None

    async def update(self, connection: Connection, change: Change) -> int:
        values: list[Any] = []
        sets = [f"t.{self.quote(name)} = v.{self.quote(name)}" for name in change.columns]
        for name, value in change.same.items():
            values.append(self.value(change.layout.columns[name], value))
            sets.append(f"t.{self.quote(name)} = %s")
        sets += [f"t.{self.quote(name)} = {expression}" for name, expression in change.expressions.items()]
        return await self._joined(connection, change, lambda join: f"UPDATE {join} SET {', '.join(sets)}", values)

    async def delete(self, connection: Connection, change: Change) -> int:
        return await self._joined(connection, change, lambda join: f"DELETE t FROM {join}", [])

    async def _joined(
        self, connection: Connection, change: Change, statement: Callable[[str], str], between: list[Any]
    ) -> int:
        """Chunk by chunk, joined to the rows as a derived table `v`, which is read first: rows are found by index."""
        table = self.table(change.layout.name, change.layout.schema)
        columns = {**change.match, **change.columns}
        layout = change.layout.columns
        made = [self.values(layout[name], column) for name, column in columns.items()]
        joined = " AND ".join(f"t.{self.quote(n)} = v.{self.quote(n)}" for n in change.match)
        fence, last = "", []
        if change.fence is not None:
            fence = f" WHERE t.{self.quote(change.fence[0])} <=> %s"
            last = [self.value(layout[change.fence[0]], change.fence[1])]
        typed = {name: self._typed(layout[name], name in change.match) for name in columns}
        first = ", ".join(f"{mark} AS {self.quote(name)}" for name, mark in typed.items())
        more = " UNION ALL SELECT " + ", ".join(typed.values())
        found = 0
        for start, stop in _chunks(connection, made):
            part = [column[start:stop] for column in made]
            derived = f"(SELECT {first}{more * (len(part[0]) - 1)}) v STRAIGHT_JOIN {table} t ON {joined}"
            values = [*chain.from_iterable(zip(*part, strict=True)), *between, *last]
            found += await connection.execute(statement(derived) + fence, values)
        return found

    def _typed(self, column: Column, matched: bool) -> str:
        # Two texts of different collations cannot be compared, and the literal's is the connection's.
        if not matched or not column.collation:
            return "%s"
        return f"CONVERT(%s USING {column.collation.partition('_')[0]}) COLLATE {column.collation}"

    async def insert(self, connection: Connection, layout: Layout, columns: Mapping[str, Sequence[Any]]) -> None:
        await self._insert(connection, layout, columns, "")

    async def upsert(
        self, connection: Connection, layout: Layout, match: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> None:
        names = [name for name in columns if name not in match] or [match[0]]
        sets = ", ".join(f"{self.quote(name)} = VALUES({self.quote(name)})" for name in names)
        await self._insert(connection, layout, columns, f" ON DUPLICATE KEY UPDATE {sets}")

    async def _insert(
        self, connection: Connection, layout: Layout, columns: Mapping[str, Sequence[Any]], end: str
    ) -> None:
        made = [self.values(layout.columns[name], column) for name, column in columns.items()]
        head = f"INSERT INTO {self.table(layout.name, layout.schema)} ({self.names(list(columns))}) VALUES "
        row = f"({', '.join(['%s'] * len(columns))})"
        for start, stop in _chunks(connection, made):
            part = [column[start:stop] for column in made]
            rows = ", ".join([row] * len(part[0]))
            try:
                await connection.execute(head + rows + end, list(chain.from_iterable(zip(*part, strict=True))))
            except DataError as error:
                said = re.search(r"at row (\d+)$", error.message)
                if said:
                    error.record = start + int(said[1]) - 1
                raise

    async def take_over(self, connection: Connection, table: str, pipeline: str, lane: str) -> tuple[int, str | None]:
        await connection.execute(
            f"INSERT INTO {table} (pipeline, lane, epoch) VALUES (%s, %s, 1) ON DUPLICATE KEY UPDATE epoch = epoch + 1",
            (pipeline, lane),
        )
        rows = await connection.fetch(
            f"SELECT epoch, position FROM {table} WHERE pipeline = %s AND lane = %s",
            (pipeline, lane),
        )
        return rows[0][0], rows[0][1]

    positions = (
        "(pipeline varchar(200) NOT NULL, lane varchar(500) NOT NULL, position text, epoch bigint NOT NULL, "
        "PRIMARY KEY (pipeline, lane)) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ENGINE = InnoDB"
    )
    dead_letters = (
        "(pipeline varchar(200) NOT NULL, id varchar(500) NOT NULL, reason text NOT NULL, value longblob, `key` blob, "
        "headers longtext, lane varchar(500) NOT NULL, position text NOT NULL, "
        "attempts integer NOT NULL, model varchar(500) NOT NULL, "
        "timestamp bigint NOT NULL, "
        "at datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), PRIMARY KEY (pipeline, id)"
        ") CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ENGINE = InnoDB"
    )

    async def exclusive(self, connection: Connection, name: str) -> None:
        rows = await connection.fetch("SELECT GET_LOCK(SHA1(%s), 10)", (name,))
        if rows[0][0] != 1:
            raise Transient(f"somebody else has had the lock '{name}' for 10 s")

    async def released(self, connection: Connection, name: str) -> None:
        await connection.fetch("SELECT RELEASE_LOCK(SHA1(%s))", (name,))


def _chunks(connection: Connection, columns: Sequence[Sequence[Any]]) -> Iterator[tuple[int, int]]:
    """Where each statement's rows begin and end. Raises DataError for a row that no statement can hold."""
    count = len(columns[0])
    sized = [column for column in columns if any(isinstance(value, (str, bytes)) for value in column)]
    # A character takes four bytes at most, and a byte two when it is escaped; half of it is for the rest.
    room = cast(MariaDBConnection, connection).packet // 8
    start = size = 0
    for row in range(count):
        own = sum(len(column[row]) for column in sized if isinstance(column[row], (str, bytes)))
        if own > room:
            raise DataError(f"a row of {own} characters and bytes, beyond an eighth of max_allowed_packet", row)
        if row > start and (size + own > room or row - start >= CHUNK):
            yield start, row
            start, size = row, 0
        size += own
    yield start, count
