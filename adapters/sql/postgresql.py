"""PostgreSQL by asyncpg: arrays and `unnest` for many rows, COPY where rows are only added."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from adapters.sql.address import Address
from adapters.sql.connection import Connection
from adapters.sql.dialect import Change, Dialect, Opener
from adapters.sql.postgresql_connection import PostgreSQLConnection, opened
from adapters.sql.schema import Columns, Kind, Layout, reflect
from adapters.sql.settings import Limits
from gateway.core.stream import DataError, Transient

#: the types of a table's columns as they stand in a cast, of any extension; without length or precision
_TYPES = """
    SELECT a.attname::text, format_type(a.atttypid, -1) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = coalesce(nullif($1, ''), current_schema())::regnamespace AND c.relname = $2
    AND a.attnum > 0 AND NOT a.attisdropped
"""


class PostgreSQL(Dialect):
    name = "postgresql"
    now = "clock_timestamp()"
    ranges = True

    async def open(self, address: Address, limits: Limits, purpose: str) -> PostgreSQLConnection:
        return await opened(address, limits, purpose)

    async def reflect(self, open: Opener, name: str, schema: str, field: str) -> Layout:
        connection = await open()

        async def lend() -> asyncpg.Connection:
            return connection.driver

        engine = create_async_engine("postgresql+asyncpg://", async_creator=lend, poolclass=NullPool)
        try:
            names: dict[str, str] = {row[0]: row[1] for row in await connection.fetch(_TYPES, (schema, name))}
            async with engine.connect() as borrowed:
                layout = await borrowed.run_sync(reflect, name, schema, field)
        except (SQLAlchemyError, *PostgreSQLConnection.errors) as error:
            raise Transient(f"{field}: cannot look at table '{name}': {error}") from error
        finally:
            await engine.dispose()
            connection.terminate()
        columns = {n: replace(column, type=names.get(n, column.type)) for n, column in layout.columns.items()}
        return replace(layout, columns=Columns(name, columns))

    def quote(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def mark(self, number: int) -> str:
        return f"${number}"

    def later(self, seconds: float) -> str:
        return f"clock_timestamp() + interval '{seconds:f} seconds'"

    def age(self, column: str, layout: Layout) -> str:
        now = self.now if layout.columns[column].kind is Kind.INSTANT else f"({self.now} AT TIME ZONE 'UTC')"
        return f"EXTRACT(EPOCH FROM {now} - min({self.quote(column)}))::float8"

    async def update(self, connection: Connection, change: Change) -> int:
        found, values = self._unnest(change)
        sets = [f"{self.quote(name)} = v.c{len(change.match) + i}" for i, name in enumerate(change.columns)]
        for name, value in change.same.items():
            column = change.layout.columns[name]
            values.append(self.value(column, value))
            sets.append(f"{self.quote(name)} = ${len(values)}::{column.type}")
        sets += [f"{self.quote(name)} = {expression}" for name, expression in change.expressions.items()]
        condition = self._fence(change, values)
        table = self.table(change.layout.name, change.layout.schema)
        return await connection.execute(f"UPDATE {table} t SET {', '.join(sets)} FROM {found}{condition}", values)

    async def delete(self, connection: Connection, change: Change) -> int:
        found, values = self._unnest(change)
        condition = self._fence(change, values)
        table = self.table(change.layout.name, change.layout.schema)
        return await connection.execute(f"DELETE FROM {table} t USING {found}{condition}", values)

    def _unnest(self, change: Change) -> tuple[str, list[Any]]:
        """The rows as a table `v` joined to `t`, and the arrays."""
        values, casts = [], []
        for name, column in (*change.match.items(), *change.columns.items()):
            there = change.layout.columns[name]
            values.append(self.values(there, column))
            casts.append(f"${len(values)}::{there.type}[]")
        columns = ", ".join(f"c{i}" for i in range(len(values)))
        joined = " AND ".join(f"t.{self.quote(name)} = v.c{i}" for i, name in enumerate(change.match))
        return f"unnest({', '.join(casts)}) AS v({columns}) WHERE {joined}", values

    def _fence(self, change: Change, values: list[Any]) -> str:
        if change.fence is None:
            return ""
        name, value = change.fence
        column = change.layout.columns[name]
        if value is None:
            return f" AND t.{self.quote(name)} IS NULL"
        values.append(self.value(column, value))
        return f" AND t.{self.quote(name)} = ${len(values)}::{column.type}"

    async def insert(self, connection: Connection, layout: Layout, columns: Mapping[str, Sequence[Any]]) -> None:
        made = [self.values(layout.columns[name], column) for name, column in columns.items()]
        await self._unchanged(connection, layout, list(columns))
        copy = connection.driver.copy_records_to_table(
            layout.name,
            records=zip(*made, strict=True),
            columns=list(columns),
            schema_name=layout.schema or None,
        )
        try:
            await connection.run(copy)
        except (TypeError, ValueError, OverflowError) as error:
            # What the driver says of a value that the column's type cannot hold; not of which.
            raise DataError(f"table '{layout.name}': {error}") from error

    async def _unchanged(self, connection: Connection, layout: Layout, names: Sequence[str]) -> None:
        """COPY sends bytes of the types that the driver saw at its first, and a column of another type would take them
        for its own: a number's for a time's. From here to the end of the transaction they cannot change.

        Asks for no right to read. Raises Transient, after which another connection is taken.
        """
        looked = f"SELECT {self.names(names)} FROM {self.table(layout.name, layout.schema)}"
        statement = await connection.run(connection.driver.prepare(looked, name=""))
        types = tuple(attribute.type.oid for attribute in statement.get_attributes())
        if cast(PostgreSQLConnection, connection).copied.setdefault(looked, types) != types:
            raise Transient(f"table '{layout.name}': its columns have other types than when the stream was connected")

    async def upsert(
        self, connection: Connection, layout: Layout, match: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> None:
        values = [self.values(layout.columns[name], column) for name, column in columns.items()]
        casts = [f"${i + 1}::{layout.columns[name].type}[]" for i, name in enumerate(columns)]
        sets = ", ".join(f"{self.quote(n)} = EXCLUDED.{self.quote(n)}" for n in columns if n not in match)
        await connection.execute(
            f"INSERT INTO {self.table(layout.name, layout.schema)} ({self.names(list(columns))}) "
            f"SELECT * FROM unnest({', '.join(casts)}) "
            f"ON CONFLICT ({self.names(match)}) DO {f'UPDATE SET {sets}' if sets else 'NOTHING'}",
            values,
        )

    async def take_over(self, connection: Connection, table: str, pipeline: str, lane: str) -> tuple[int, str | None]:
        rows = await connection.fetch(
            f"INSERT INTO {table} AS p (pipeline, lane, epoch) VALUES ($1, $2, 1) "
            "ON CONFLICT (pipeline, lane) DO UPDATE SET epoch = p.epoch + 1 RETURNING epoch, position",
            (pipeline, lane),
        )
        return rows[0][0], rows[0][1]

    positions = (
        "(pipeline text NOT NULL, lane text NOT NULL, position text, epoch bigint NOT NULL, "
        "PRIMARY KEY (pipeline, lane))"
    )
    dead_letters = (
        "(pipeline text NOT NULL, id text NOT NULL, reason text NOT NULL, value bytea, key bytea, headers text, "
        "lane text NOT NULL, position text NOT NULL, attempts integer NOT NULL, model text NOT NULL, "
        "timestamp bigint NOT NULL, "
        "at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (pipeline, id))"
    )

    async def exclusive(self, connection: Connection, name: str) -> None:
        await connection.fetch("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (name,))

    async def listen(self, connection: Connection, channel: str, heard: Callable[[], None]) -> None:
        await connection.run(connection.driver.add_listener(channel, lambda *_: heard()))
        connection.driver.add_termination_listener(lambda *_: heard())
