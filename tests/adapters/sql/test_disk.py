"""Disks of databases that are full in the middle of a run: the stream waits, and goes on when there is room."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL
from servers.server import Server
from sql_database import Database, SqliteFile
from sql_stream import Stream, complete, tables

ROWS = 600


@contextmanager
def mounted(path: Path, size: str, owner: str = "") -> Iterator[Path]:
    """A file system of that size."""
    path.mkdir()
    if os.getuid() != 0 or subprocess.call(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path]):
        pytest.skip("no file system can be mounted here")
    try:
        if owner:
            shutil.chown(path, owner, owner)
            path.chmod(0o700)
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@contextmanager
def cramped(server: Server) -> Iterator[Path]:
    """Its data folder, which is all of a small disk."""
    try:
        with mounted(server.folder / "data", "200m", server.user) as disk, server:
            yield disk
    finally:
        shutil.rmtree(server.folder, ignore_errors=True)  # which it could not, with a disk in it


def fill(disk: Path) -> Path:
    """A file that takes what room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2
    return ballast


def run(database: Database, disk: Path, says: str, harm: str = "") -> None:
    """Rows wide enough that each batch needs room."""
    tables(database, ROWS)
    wide = "text" if database.system != "mariadb" else "varchar(4000)"
    database.sql(f"ALTER TABLE scores ADD body {wide} NOT NULL DEFAULT '{'y' * 2000}'")

    async def go() -> None:
        async with Stream(database, held=2) as stream:
            await stream.held()
            ballast = await asyncio.to_thread(fill, disk)
            if harm:
                with contextlib.suppress(AssertionError):  # it ends by it
                    await stream.sql(harm)
            stream.model.open.set()
            await stream.waits(says)
            assert stream.status.acknowledged < ROWS
            ballast.unlink()
            server = database.server
            if harm:
                assert isinstance(server, Server)
                assert server.process is not None
                await asyncio.to_thread(server.process.wait, 30)
                await asyncio.to_thread(server.start)
            await stream.acknowledged(ROWS)

    asyncio.run(go())
    assert complete(database, ROWS)


def test_a_table_space_that_is_full(own_postgresql: PostgreSQL) -> None:
    with mounted(own_postgresql.folder / "space", "1m", "postgres") as disk:
        url = own_postgresql.database()
        database = Database("postgresql", own_postgresql, url)
        database.sql(f"CREATE TABLESPACE small LOCATION '{disk}'")
        database.sql(f"ALTER DATABASE {url.rpartition('/')[2]} SET default_tablespace = small")
        try:
            run(database, disk, "No space left on device")
        finally:
            own_postgresql.drop(url)
            own_postgresql.sql("DROP TABLESPACE small")


def test_a_log_that_cannot_be_written_ends_postgresql() -> None:
    server = PostgreSQL(restart_after_crash="off")
    with cramped(server) as disk:
        run(
            Database("postgresql", server, server.database()),
            disk,
            "Connect call failed",
            "SELECT pg_switch_wal(); CREATE TABLE t ()",
        )


def test_a_data_folder_of_mariadb_that_is_full() -> None:
    server = MariaDB(innodb_log_file_size="4M")
    with cramped(server) as disk:
        run(Database("mariadb", server, server.database()), disk, "The table 'scores' is full")


def test_a_file_of_sqlite_on_a_disk_that_is_full(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "4m") as disk:
        (disk / "test.db").touch()
        file = SqliteFile(disk / "test.db")
        file.sql("PRAGMA journal_mode = WAL")
        run(Database("sqlite", file, file.url), disk, "database or disk is full")
