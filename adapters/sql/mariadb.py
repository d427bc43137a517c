"""MariaDB and MySQL by asyncmy: many rows as one derived table, or as one INSERT."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, cast

import asyncmy
from asyncmy import errors as driver_errors
from asyncmy.constants import CLIENT
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from adapters.sql import tls
from adapters.sql.address import Address
from adapters.sql.connection import Connection, Row
from adapters.sql.dialect import Change, Dialect, Opener
from adapters.sql.schema import Column, Columns, Kind, Layout, reflect
from adapters.sql.settings import Limits
from gateway.core.errors import SluiceError
from gateway.core.stream import DataError, Transient

#: errors that say that a value is at fault: NULL where there must be none,
#: duplicate, foreign key, range, length, conversion, CHECK, SIGNAL, JSON
AT_FAULT = frozenset(
    {1048, 1062, 1169, 1216, 1263, 1264, 1265, 1292, 1364, 1366, 1406, 1411, 1451, 1452, 1586, 1644, 1690, 1977, 3140}
    | {3819, 4025, 4038}
)
#: rows of one statement
CHUNK = 1000

#: of a table's columns; SQLAlchemy tells those that differ from the table's
_COLLATIONS = """
    SELECT column_name, collation_name FROM information_schema.columns
    WHERE table_schema = COALESCE(NULLIF(%s, ''), DATABASE()) AND table_name = %s
"""


class MariaDBConnection(Connection):
    errors = (driver_errors.MySQLError, OSError, EOFError)
    beginning = "START TRANSACTION"
    #: bytes that a statement may have
    packet = 1 << 20

    @property
    def alive(self) -> bool:
        return bool(self.driver.connected)

    def terminate(self) -> None:
        self.driver.close()

    async def close(self) -> None:
        try:
            async with asyncio.timeout(5):
                await self.driver.ensure_closed()
        except (*self.errors, TimeoutError):
            self.driver.close()

    def translate(self, error: BaseException) -> SluiceError:
        number, message = _parts(error)
        if number in AT_FAULT:
            return DataError(f"MariaDB {number}: {message}", -1)
        return Transient(f"MariaDB {number}: {message}" if number else f"MariaDB: {message}")

    async def _fetch(self, sql: str, values: Sequence[Any]) -> Sequence[Row]:
        async with self.driver.cursor() as cursor:
            await cursor.execute(sql, tuple(values))
            rows: Sequence[Row] = await cursor.fetchall()
            return rows

    async def _execute(self, sql: str, values: Sequence[Any]) -> int:
        async with self.driver.cursor() as cursor:
            await cursor.execute(sql, tuple(values))
            return int(cursor.rowcount)

    async def _script(self, sql: str) -> None:
        await self._execute(sql, ())


class MariaDB(Dialect):
    name = "mariadb"
    now = "UTC_TIMESTAMP(6)"
    nan = infinity = False

    async def open(self, address: Address, limits: Limits, purpose: str) -> MariaDBConnection:
        try:
            async with asyncio.timeout(limits.connect):
                driver = await asyncmy.connect(
                    host=address.host,
                    port=address.port,
                    user=address.user,
                    password=address.password(),
                    db=address.database,
                    charset="utf8mb4",
                    connect_timeout=limits.connect,
                    ssl=_tls(address),
                    # Rows that are found, not rows that are changed: a fence is counted by them.
                    client_flag=CLIENT.FOUND_ROWS,
                )
        except MariaDBConnection.errors as error:
            raise Transient(f"{address.domain}: {_parts(error)[1]}") from error
        except TimeoutError as error:
            raise Transient(f"{address.domain}: no answer within {limits.connect:g} s") from error
        connection = MariaDBConnection(driver, limits.statement + limits.connect)
        try:
            await self._prepare(connection, limits)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _prepare(self, connection: MariaDBConnection, limits: Limits) -> None:
        # Strict: else a value that is too long is cut, and one out of range replaced, without a word. Read committed:
        # else every row that was looked at stays locked.
        for statement in (
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
            "SET SESSION time_zone = '+00:00', autocommit = 1",
            f"SET SESSION innodb_lock_wait_timeout = {max(1, round(limits.lock))}",
        ):
            await connection.script(statement)
        connection.packet = int((await connection.fetch("SELECT @@max_allowed_packet"))[0][0])
        if "MariaDB" in str(connection.driver.get_server_info()):
            await connection.script(
                f"SET SESSION max_statement_time = {limits.statement:f}, "
                f"idle_transaction_timeout = {max(1, round(limits.idle))}"
            )
        else:
            await connection.script(
                f"SET SESSION max_execution_time = {max(1, round(limits.statement * 1000))}, "
                f"wait_timeout = {max(1, round(limits.idle))}"
            )

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


def _tls(address: Address) -> ssl.SSLContext | None:
    """ssl_ca=FILE in the URL, or ssl=true for the system's authorities; the host has to be in the certificate."""
    if "ssl_ca" not in address.options and address.options.get("ssl") != "true":
        return None
    return tls.context(address.options, "ssl_ca", "ssl_cert", "ssl_key")


def _parts(error: BaseException) -> tuple[int, str]:
    """The server's number of an error, 0 for none, and what it says."""
    if len(error.args) >= 2 and isinstance(error.args[0], int):
        return error.args[0], str(error.args[1])
    return 0, str(error) or type(error).__name__
