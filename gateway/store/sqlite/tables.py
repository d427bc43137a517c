"""The rows of the control state, within a transaction of the caller's; migrations.py makes the tables."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping

import msgspec

from gateway.store.contract import Act, AuditEntry, State
from gateway.store.rows import KINDS, changes, new_blobs, state_of, text


def read_state(db: sqlite3.Connection) -> State:
    select = {kind.name: f"SELECT {', '.join(kind.columns)} FROM {kind.name}" for kind in KINDS}  # noqa: S608
    return state_of(read_revision(db), {name: db.execute(query) for name, query in select.items()})


def read_revision(db: sqlite3.Connection) -> int:
    (revision,) = db.execute("SELECT value FROM revision").fetchone()
    return int(revision)


def read_blob(db: sqlite3.Connection, digest: str) -> bytes | None:
    row = db.execute("SELECT data FROM blobs WHERE digest = ?", (digest,)).fetchone()
    return bytes(row[0]) if row else None


def read_audit(db: sqlite3.Connection, limit: int, before: int | None) -> list[AuditEntry]:
    rows = db.execute(
        "SELECT id, at, before, after, actor, origin, action, target, detail FROM audit"
        " WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT ?",
        (before, before, limit),
    )
    return [
        AuditEntry(id_, at, old, new, Act(actor, origin, action, target, msgspec.json.decode(detail)))
        for id_, at, old, new, actor, origin, action, target, detail in rows
    ]


def write_state(db: sqlite3.Connection, old: State, new: State) -> None:
    for kind, gone, rows in changes(old, new):
        db.executemany(f"DELETE FROM {kind.name} WHERE {kind.columns[0]} = ?", [(key,) for key in gone])  # noqa: S608
        marks = ", ".join("?" * len(kind.columns))
        columns = ", ".join(kind.columns)
        db.executemany(f"INSERT OR REPLACE INTO {kind.name} ({columns}) VALUES ({marks})", rows)  # noqa: S608
    db.execute("UPDATE revision SET value = ?", (new.revision,))


def write_blobs(db: sqlite3.Connection, new: State, blobs: Mapping[str, bytes]) -> None:
    """Adds those that the new state names, and takes away those that it does not."""
    have = {digest for (digest,) in db.execute("SELECT digest FROM blobs")}
    fresh, gone = new_blobs(new, have, blobs)
    db.executemany("INSERT INTO blobs VALUES (?, ?)", fresh.items())
    db.executemany("DELETE FROM blobs WHERE digest = ?", [(digest,) for digest in gone])


def write_audit(db: sqlite3.Connection, before: int, after: int, act: Act) -> None:
    db.execute(
        "INSERT INTO audit (at, before, after, actor, origin, action, target, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (time.time(), before, after, act.actor, act.origin, act.action, act.target, text(act.detail)),
    )
