"""A database of a test's own in each of the systems, looked at by the system's own client."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import convert
from servers.mariadb import MariaDatabases
from servers.postgresql import Databases

from adapters.sql import adapter
from adapters.sql.input import SqlInput
from adapters.sql.output import SqlOutput
from adapters.sql.redrive import SqlRedrive
from gateway.core.stream import Batch, Context, Credit, PositionStore, Rows, Token
from gateway.core.table import Table

CREDIT = Credit(10_000, 1 << 30)


class SqliteFile:
    """The same methods as the servers'."""

    own = False

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:////{path}"
        self._path = path

    def sql(self, statement: str, url: str = "") -> list[tuple[str, ...]]:
        connection = sqlite3.connect(self._path, timeout=10)
        try:
            head, _, last = statement.strip().rstrip(";").rpartition(";")
            if head:
                connection.executescript(head)
            rows = connection.execute(last).fetchall()
            connection.commit()
        finally:
            connection.close()
        return [tuple("" if value is None else str(value) for value in row) for row in rows]


class Database:
    """`types` are the names of column types that tests use."""

    def __init__(self, system: str, server: Databases | MariaDatabases | SqliteFile, url: str) -> None:
        self.system = system
        self.server = server
        self.url = url

    def sql(self, statement: str) -> list[tuple[str, ...]]:
        """NULL is empty."""
        rows = self.server.sql(statement, self.url)
        return [tuple("" if value == "NULL" else value for value in row) for row in rows]

    def column(self, statement: str) -> list[str]:
        return [row[0] for row in self.sql(statement)]

    @property
    def double(self) -> str:
        return {"postgresql": "double precision", "mariadb": "double", "sqlite": "REAL"}[self.system]

    @property
    def moment(self) -> str:
        return {"postgresql": "timestamptz", "mariadb": "datetime(6)", "sqlite": "DATETIME"}[self.system]

    @property
    def bytes(self) -> str:
        return {"postgresql": "bytea", "mariadb": "longblob", "sqlite": "BLOB"}[self.system]

    def claims(self, rows: int, name: str = "claims", more: str = "") -> None:
        """A table of rows that wait, with all that any mode needs: x is the row's number."""
        self.sql(
            f"CREATE TABLE {name} (id bigint PRIMARY KEY, x {self.double}, label varchar(20), "
            f"status varchar(10) NOT NULL DEFAULT 'new', reason varchar(200), score {self.double}, "
            f"claimed_until {self.moment}, claimed_by varchar(32){more})"
        )
        self.sql(f"CREATE INDEX {name}_status ON {name} (status)")
        self.add(range(1, rows + 1), name)

    def add(self, rows: Sequence[int], name: str = "claims") -> None:
        if rows:
            self.sql(f"INSERT INTO {name} (id, x, label) VALUES " + ", ".join(f"({i}, {i}, 'row {i}')" for i in rows))

    def input(
        self, mode: str = "claim", table: str = "claims", positions: PositionStore | None = None, **settings: Any
    ) -> SqlInput:
        door = adapter.input
        assert door is not None
        made = convert({"url": self.url, "table": table, "mode": mode, "poll": 0.05, **settings}, door.settings)
        opened: SqlInput = door.open(made, Context("p", positions))
        return opened

    def output(self, mode: str = "update", pipeline: str = "p", **settings: Any) -> SqlOutput:
        door = adapter.output
        assert door is not None
        opened: SqlOutput = door.open(self.output_settings(mode, **settings), Context(pipeline))
        return opened

    def output_settings(self, mode: str, **settings: Any) -> Any:
        assert adapter.output is not None
        return convert({"url": self.url, "mode": mode, **settings}, adapter.output.settings)

    def redrive(self, mode: str = "claim", table: str = "claims", **settings: Any) -> SqlRedrive:
        door = adapter.redrive
        assert door is not None
        made = convert({"url": self.url, "table": table, "mode": mode, **settings}, door.settings)
        opened: SqlRedrive = door.open(made, Context("p"))
        return opened


@contextmanager
def opened(system: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Database]:
    if system == "sqlite":
        path = folder / "test.db"
        sqlite3.connect(path).close()
        file = SqliteFile(path)
        file.sql("PRAGMA journal_mode = WAL")
        yield Database("sqlite", file, file.url)
        return
    server = request.getfixturevalue(system)
    url = server.database()
    try:
        yield Database(system, server, url)
    finally:
        server.drop(url)


async def read(source: SqlInput, rows: int = 10_000) -> tuple[Batch, Token]:
    found = await source.read(Credit(rows, 1 << 30))
    assert found is not None
    return found


def results(batch: Batch, token: Token, **columns: Sequence[Any]) -> Rows:
    """Of a batch: score is 10 x, unless columns are given."""
    made = columns or {"score": [None if x is None else 10.0 * float(x) for x in column(batch, "x")]}
    return Rows(Batch(batch.ids, Table(tuple(made), list(made.values())), batch.keys), token)


async def through(source: SqlInput, sink: SqlOutput) -> None:
    """Connects both, and has what is read written and acknowledged."""
    await source.connect()
    await sink.connect()
    await handed_over(source, sink)


async def handed_over(source: SqlInput, sink: SqlOutput) -> None:
    """One batch, from one to the other; then both are closed."""
    batch, token = await read(source)
    await sink.write(results(batch, token))
    await source.ack(token)
    await source.close()
    await sink.close()


def column(batch: Batch, name: str) -> Sequence[Any]:
    assert isinstance(batch.values, Table)
    found: Sequence[Any] = batch.values.columns[batch.values.names.index(name)]
    return found
