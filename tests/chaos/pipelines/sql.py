"""Tables: rows that are claimed in a transaction, and rows that are lent."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from chaos.pipelines.pipeline import COMMON, FIELDS, Pipeline, Site
from chaos.pipelines.servers import Servers, through
from chaos.records import COLUMNS, Record
from oracle import Result

#: a transaction may be idle for longer than the slow model takes
LIMITS = {"connect": 4, "statement": 4, "lock": 2, "idle": 10}


class PostgreSQLClaim(Pipeline):
    """Claimed, scored and written back in one transaction. Poison is a NULL where the model needs a number."""

    name = "postgresql-claim"
    chunk = 800

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self.database, self.proxy = servers.postgresql()
        self.sites = [Site(self.database, self.proxy)]
        self.url = self.database.database()
        columns = ", ".join(f"{name} double precision" for name in COLUMNS)
        self.database.sql(
            f"""
            CREATE TABLE work (id bigint PRIMARY KEY, k text, {columns}, status text NOT NULL DEFAULT 'new',
                               reason text, score double precision, version text);
            CREATE INDEX ON work (status);
            CREATE TABLE written (n bigserial, id bigint, score double precision, version text, status text);
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
                INSERT INTO written (id, score, version, status) VALUES (NEW.id, NEW.score, NEW.version, NEW.status);
                RETURN NEW; END';
            CREATE TRIGGER note AFTER UPDATE ON work FOR EACH ROW WHEN (NEW.status <> 'new') EXECUTE FUNCTION note();
            """,
            self.url,
        )

    def document(self) -> dict[str, Any]:
        url = through(self.url, self.proxy)
        return {
            **COMMON,
            "input": {
                "sql": {
                    "url": url, "table": "work", "mode": "claim", "key": "k", "columns": ["id", *COLUMNS],
                    "status": {"reason": "reason"}, "claims": 2, "rows": 40, "poll": 0.1, "limits": LIMITS,
                }
            },
            "decode": {"format": "columns"},
            "encode": {"format": "columns", "fields": {name: FIELDS[name] for name in ("score", "version")}},
            "output": {
                "sql": {"url": url, "table": "work", "mode": "update", "mark_failed": True, "limits": LIMITS}
            },
            "guarantee": "exactly once",
        }  # fmt: skip

    def send(self, records: Sequence[Record]) -> None:
        rows = []
        for record in records:
            row = record.row | ({"f3": None} if record.poison else {})
            rows.append("(" + ", ".join(_literal(row[name]) for name in ("id", "k", *COLUMNS)) + ")")
        self.database.sql(f"INSERT INTO work (id, k, {', '.join(COLUMNS)}) VALUES {', '.join(rows)}", self.url)
        self.sent += len(records)

    def is_commit(self, said: bytes) -> bool:
        return b"COMMIT" in said

    def waiting(self) -> int:
        return int(self.database.sql("SELECT count(*) FROM work WHERE status = 'new'", self.url)[0][0])

    def results(self) -> list[Result]:
        query = "SELECT id, score, version FROM written WHERE status = 'done' ORDER BY n"
        return rows_of(self.database.sql(query, self.url))

    def dead(self) -> list[str]:
        return [id_ for (id_,) in self.database.sql("SELECT id FROM written WHERE status = 'failed'", self.url)]


class SQLiteLease(Pipeline):
    """Rows are lent with a fencing token, scored outside of any transaction, and written back."""

    name = "sqlite-lease"
    locks = True
    chunk = 800

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self.disk = servers.disk(folder / "disk")
        self.path = folder / "disk" / "work.db"
        columns = ", ".join(f"{name} REAL" for name in COLUMNS)
        with closing(self._connect()) as connection:
            connection.executescript(
                f"""
                PRAGMA journal_mode = WAL;
                CREATE TABLE work (id INTEGER PRIMARY KEY, k TEXT, {columns}, status TEXT NOT NULL DEFAULT 'new',
                                   reason TEXT, score REAL, version TEXT, claimed_until TEXT, claimed_by TEXT);
                CREATE INDEX by_status ON work (status);
                CREATE TABLE written (n INTEGER PRIMARY KEY, id INTEGER, score REAL, version TEXT, status TEXT);
                CREATE TRIGGER note AFTER UPDATE ON work WHEN NEW.status <> 'new' BEGIN
                    INSERT INTO written (id, score, version, status)
                    VALUES (NEW.id, NEW.score, NEW.version, NEW.status); END;
                """
            )

    def document(self) -> dict[str, Any]:
        url = f"sqlite:///{self.path}"
        return {
            **COMMON,
            "input": {
                "sql": {
                    "url": url, "table": "work", "mode": "lease", "key": "k", "columns": ["id", *COLUMNS],
                    "status": {"reason": "reason"}, "lease": {"seconds": 2}, "rows": 40, "poll": 0.1,
                }
            },
            "decode": {"format": "columns"},
            "encode": {"format": "columns", "fields": {name: FIELDS[name] for name in ("score", "version")}},
            "output": {"sql": {"url": url, "table": "work", "mode": "update", "mark_failed": True}},
            "guarantee": "exactly once",
        }  # fmt: skip

    def send(self, records: Sequence[Record]) -> None:
        names = ("id", "k", *COLUMNS)
        rows = [record.row | ({"f3": None} if record.poison else {}) for record in records]
        with closing(self._connect()) as connection, connection:
            connection.executemany(
                f"INSERT INTO work ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
                [[row[name] for name in names] for row in rows],
            )
        self.sent += len(records)

    def waiting(self) -> int:
        return int(self._query("SELECT count(*) FROM work WHERE status = 'new'")[0][0])

    def results(self) -> list[Result]:
        return [
            Result(str(id_), version, score)
            for id_, score, version in self._query(
                "SELECT id, score, version FROM written WHERE status = 'done' ORDER BY n"
            )
        ]

    def dead(self) -> list[str]:
        return [str(id_) for (id_,) in self._query("SELECT id FROM written WHERE status = 'failed'")]

    def _query(self, query: str) -> list[Any]:
        with closing(self._connect()) as connection:
            return connection.execute(query).fetchall()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=20)


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return f"'{value}'" if isinstance(value, str) else repr(value)


def rows_of(rows: Sequence[tuple[str, ...]]) -> list[Result]:
    return [Result(id_, version, float(score)) for id_, score, version in rows]
