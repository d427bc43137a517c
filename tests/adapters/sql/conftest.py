"""Every test that takes `database` runs once per system; those that take `locking` where rows can be locked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sql_database import Database, opened


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
