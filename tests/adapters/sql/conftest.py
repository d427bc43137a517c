"""Every test that takes `database` runs once per system; those that take `locking` where rows can be locked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sql_database import Database, SqliteFile


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


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with opened(request.param, request, tmp_path) as found:
        yield found


@pytest.fixture(params=["postgresql", "mariadb"])
def locking(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with opened(request.param, request, tmp_path) as found:
        yield found


@pytest.fixture
def postgres(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with opened("postgresql", request, tmp_path) as found:
        yield found


@pytest.fixture
def sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with opened("sqlite", request, tmp_path) as found:
        yield found
