"""The stands of the SQL adapter, on the real databases."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from contract.stands import InputStand, OutputStand
from sql_database import Database, opened

from adapters.sql.output import SqlOutput
from gateway.core.stream import Input, Output, PositionStore, Token


class SqlInputStand:
    """By lease, which every database has. A batch in flight is a lane of its own here: there are many."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids = itertools.count(1)
        database.sql(
            f"CREATE TABLE t (id bigint PRIMARY KEY, n int, status varchar(10) DEFAULT 'new', "
            f"claimed_until {database.moment}, claimed_by varchar(32))"
        )

    async def put(self, numbers: Sequence[int]) -> None:
        rows = ", ".join(f"({next(self._ids)}, {number})" for number in numbers)
        await asyncio.to_thread(self._database.sql, f"INSERT INTO t (id, n) VALUES {rows}")

    def open(self, positions: PositionStore | None = None) -> Input:
        return self._database.input("lease", "t", positions, columns=["n"], claims=64)


class SqlOutputStand:
    def __init__(self, database: Database, *, insert: bool) -> None:
        self._database = database
        self._insert = insert
        self._offset = itertools.count(1)
        self._opened: SqlOutput | None = None
        self._epoch = 0
        serial = {
            "postgresql": "bigserial PRIMARY KEY",
            "mariadb": "bigint PRIMARY KEY AUTO_INCREMENT",
            "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
        }[database.system]
        database.sql(f"CREATE TABLE t (seq {serial}, record varchar(50) UNIQUE, body varchar(100), who varchar(10))")

    def open(self) -> Output:
        more = {} if self._insert else {"positions": "positions", "dead_letters": "dead"}
        mode = "insert" if self._insert else "results"
        self._opened = self._database.output(mode, table="t", id="record", key="who", value="body", **more)
        self._epoch = 0
        return self._opened

    async def source(self) -> Token:
        assert self._opened is not None
        if not self._insert and not self._epoch:
            self._epoch, _ = await self._opened.take_over("lane")
        return Token("lane", self._epoch, next(self._offset))

    async def numbers(self) -> list[int]:
        found = await asyncio.to_thread(self._database.column, "SELECT body FROM t ORDER BY seq")
        return [json.loads(body)["n"] for body in found]

    async def letters(self) -> list[str]:
        return await asyncio.to_thread(self._database.column, "SELECT id FROM dead")


@asynccontextmanager
async def _input(system: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[InputStand]:
    with opened(system, request, folder) as database:
        yield SqlInputStand(database)


@asynccontextmanager
async def _output(
    system: str, request: pytest.FixtureRequest, folder: Path, insert: bool
) -> AsyncIterator[OutputStand]:
    with opened(system, request, folder) as database:
        yield SqlOutputStand(database, insert=insert)


def _fixture(stand: Callable[..., Any], system: str, *more: Any) -> Any:
    @pytest.fixture
    def found(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
        if system != "sqlite":
            # outside of the event loop, since a server takes a while to start
            request.getfixturevalue(system)
        return partial(stand, system, request, tmp_path, *more)

    return found


postgresql_input = _fixture(_input, "postgresql")
mariadb_input = _fixture(_input, "mariadb")
sqlite_input = _fixture(_input, "sqlite")
postgresql_results = _fixture(_output, "postgresql", False)
mariadb_results = _fixture(_output, "mariadb", False)
sqlite_results = _fixture(_output, "sqlite", False)
postgresql_insert = _fixture(_output, "postgresql", True)
mariadb_insert = _fixture(_output, "mariadb", True)
sqlite_insert = _fixture(_output, "sqlite", True)
