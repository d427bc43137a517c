"""What differs between the databases' SQL: names, marks of values, locks, times, and the way many rows are written."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.sql.address import Address
from adapters.sql.connection import Connection
from adapters.sql.pool import Pool
from adapters.sql.schema import Column, Layout, NoTable
from adapters.sql.settings import Limits
from adapters.sql.values import convert
from gateway.core.errors import InvalidArgument, Unsupported
from gateway.core.stream import DataError

Opener = Callable[[], Awaitable[Connection]]


@dataclass(frozen=True, slots=True)
class Change:
    """Rows of one table that are found by `match`, and what becomes of them: columns, one value a row.

    same         columns that get one value in all rows
    expressions  columns that get what an expression of the database says
    fence        a column and the value that it must still have in each row
    """

    layout: Layout
    match: Mapping[str, Sequence[Any]]
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    same: Mapping[str, Any] = field(default_factory=dict)
    fence: tuple[str, Any] | None = None
    expressions: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.match.values())))


class Dialect(ABC):
    """Methods that write return how many rows they found, and raise what the connection raises."""

    name: str
    #: whether a row that somebody else has locked can be passed over
    skips_locked = True
    #: whether a claim of the keys behind one locks no other rows, whatever index it goes by
    ranges = False
    nan = True
    infinity = True

    @abstractmethod
    async def open(self, address: Address, limits: Limits, purpose: str) -> Connection:
        """`purpose` is what the database's own lists show. Raises Transient."""

    @abstractmethod
    async def reflect(self, open: Opener, name: str, schema: str, field: str) -> Layout:
        """By a connection of its own, since SQLAlchemy closes what it is lent. `field` is the setting that named the
        table. Raises Transient, NoTable among it."""

    async def reflect_or_create(self, pool: Pool, name: str, schema: str, field: str, declared: str) -> Layout:
        """Whoever may not create tables is content with one that is there."""
        try:
            return await self.reflect(pool.open, name, schema, field)
        except NoTable:
            pass
        async with pool.connection() as connection:
            # What PostgreSQL says to the second of two who create it at the same time.
            with contextlib.suppress(DataError):
                await connection.script(f"CREATE TABLE IF NOT EXISTS {self.table(name, schema)} {declared}")
        return await self.reflect(pool.open, name, schema, field)

    @abstractmethod
    def quote(self, name: str) -> str: ...

    @abstractmethod
    def mark(self, number: int) -> str:
        """Of the value with that number, from 1."""

    @property
    @abstractmethod
    def now(self) -> str: ...

    @abstractmethod
    def later(self, seconds: float) -> str:
        """The time so many seconds from now."""

    @abstractmethod
    def age(self, column: str, layout: Layout) -> str:
        """Seconds since the earliest time in a column."""

    @abstractmethod
    async def update(self, connection: Connection, change: Change) -> int: ...

    @abstractmethod
    async def delete(self, connection: Connection, change: Change) -> int: ...

    @abstractmethod
    async def insert(self, connection: Connection, layout: Layout, columns: Mapping[str, Sequence[Any]]) -> None: ...

    @abstractmethod
    async def upsert(
        self, connection: Connection, layout: Layout, match: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> None:
        """No two rows agree in `match`."""

    @abstractmethod
    async def take_over(self, connection: Connection, table: str, pipeline: str, lane: str) -> tuple[int, str | None]:
        """Raises the epoch of the lane, and returns it with the position; within a transaction."""

    #: what CREATE TABLE says of a table of positions, and of one of dead letters
    positions: str
    dead_letters: str

    @abstractmethod
    async def exclusive(self, connection: Connection, name: str) -> None:
        """Waits until nobody else has this name in a transaction, and has it until the transaction ends."""

    async def released(self, connection: Connection, name: str) -> None:  # noqa: B027 - most release it by themselves
        """Called after the transaction of `exclusive`."""

    def text(self, sql: str) -> str:
        """An operator's own SQL, for a statement that has values."""
        return sql

    def table(self, name: str, schema: str = "") -> str:
        return f"{self.quote(schema)}.{self.quote(name)}" if schema else self.quote(name)

    def names(self, names: Sequence[str], prefix: str = "") -> str:
        return ", ".join(prefix + self.quote(name) for name in names)

    def values(self, column: Column, values: Sequence[Any]) -> Sequence[Any]:
        """As the driver takes them. Raises DataError with the index of the value."""
        return convert(column, values, nan=self.nan, infinity=self.infinity)

    def value(self, column: Column, value: Any) -> Any:
        return self.values(column, (value,))[0]

    def reader(self, column: Column) -> Callable[[Any], Any] | None:
        """Makes of a value what the column's kind says; None where the driver did. Raises ValueError, TypeError."""
        return None

    def listen(self, connection: Connection, channel: str, heard: Callable[[], None]) -> Awaitable[None]:
        raise InvalidArgument("notify: PostgreSQL alone can notify")


def dialect(system: str) -> Dialect:
    """Imports the driver. Raises Unsupported where it is not installed."""
    try:
        if system == "postgresql":
            from adapters.sql.postgresql import PostgreSQL

            return PostgreSQL()
        if system == "mariadb":
            from adapters.sql.mariadb import MariaDB

            return MariaDB()
        from adapters.sql.sqlite import SQLite

        return SQLite()
    except ImportError as error:
        raise Unsupported(f"url: {error.name} is not installed: pip install 'sluice[{system}]'") from error
