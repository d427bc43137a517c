"""The schema, as the steps that lead to it. A step that was released never changes; a new one is added."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from gateway.core.errors import Unavailable

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE revision (only INTEGER PRIMARY KEY CHECK (only = 1), value INTEGER NOT NULL)",
        "INSERT INTO revision VALUES (1, 0)",
        "CREATE TABLE models (name TEXT PRIMARY KEY, loaded INTEGER NOT NULL, generation INTEGER NOT NULL,"
        " config TEXT NOT NULL, files TEXT NOT NULL)",
        "CREATE TABLE splits (model TEXT PRIMARY KEY, salt TEXT NOT NULL, arms TEXT NOT NULL)",
        "CREATE TABLE labels (model TEXT PRIMARY KEY, labels TEXT NOT NULL)",
        "CREATE TABLE blobs (digest TEXT PRIMARY KEY, data BLOB NOT NULL)",
        "CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, before INTEGER NOT NULL,"
        " after INTEGER NOT NULL, actor TEXT NOT NULL, origin TEXT NOT NULL, action TEXT NOT NULL,"
        " target TEXT NOT NULL, detail TEXT NOT NULL)",
    ),
    (
        "CREATE TABLE keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, allow TEXT NOT NULL,"
        " created REAL NOT NULL, expires REAL NOT NULL)",
    ),
)


def migrate(connection: sqlite3.Connection, name: str) -> None:
    """Takes the steps that are missing, each whole or not at all.

    Raises Unavailable where a newer Sluice wrote the store: an older one would lose what it does not know.
    """
    connection.execute("CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, at REAL NOT NULL)")
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchone()
            if version > len(STEPS):
                raise Unavailable(
                    f"{name} has schema {version}, this Sluice knows {len(STEPS)}: it was written by a newer one"
                )
            if version < len(STEPS):
                for statement in STEPS[version]:
                    connection.execute(statement)
                connection.execute("INSERT INTO migrations VALUES (?, ?)", (version + 1, time.time()))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        if version >= len(STEPS):
            return
