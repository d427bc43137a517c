"""The pipelines that are tormented: real servers at both ends, and everything that came out of them."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar

import amqp
from chaos.proxy import Proxy
from chaos.records import COLUMNS, Record
from confluent_kafka import KafkaException
from oracle import Result
from servers.kafka import Kafka
from servers.postgresql import PostgreSQL
from servers.rabbitmq import RabbitMQ
from servers.server import Server, free_port, until

PARTITIONS = 4
_ID = re.compile(r'"id": (\d+)')
_FIELDS = {"id": "id", "score": "output_probability[1]", "version": "$version"}
#: small batches, so that many are in flight; quick retries, so that a round is short
_COMMON: dict[str, Any] = {
    "map": {"X": list(COLUMNS)},
    "model": "T",
    "batching": {"rows": 40},
    "errors": {"backoff": {"initial": 0.05, "longest": 0.5}, "breaker": {"share": 1}, "stalled": 8, "settle": 3},
    "drain": 5,
}


class ProxiedKafka(Kafka):
    """Workers reach it through a proxy, everybody else directly."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(transaction_abort_timed_out_transaction_cleanup_interval_ms="500")
        proxy.target = free_port()
        self.options["listeners"] += f",PROXIED://127.0.0.1:{proxy.target}"
        self.options["advertised.listeners"] += f",PROXIED://127.0.0.1:{proxy.port}"
        self.options["listener.security.protocol.map"] += ",PROXIED:PLAINTEXT"


class Servers:
    """Each is started when the first pipeline asks for it, and has a proxy before it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._started: dict[str, tuple[Any, Proxy]] = {}

    def kafka(self) -> tuple[ProxiedKafka, Proxy]:
        return self._start("kafka", ProxiedKafka)

    def postgresql(self) -> tuple[PostgreSQL, Proxy]:
        return self._start("postgresql", lambda proxy: _aimed(PostgreSQL(), proxy))

    def rabbitmq(self) -> tuple[RabbitMQ, Proxy]:
        return self._start("rabbitmq", lambda proxy: _aimed(RabbitMQ(), proxy))

    def _start(self, name: str, make: Any) -> Any:
        if name not in self._started:
            proxy = self._stack.enter_context(Proxy())
            self._started[name] = self._stack.enter_context(make(proxy)), proxy
        return self._started[name]


def _aimed(server: Any, proxy: Proxy) -> Any:
    proxy.target = server.port
    return server


class Pipeline:
    """`exactly_once` and `ordered` are what it claims, per record and within a key.

    server, proxy   what faults may strike besides the worker; None where there is none
    chunk           records that are sent for one fault: more than are done by the time that it strikes
    """

    name: ClassVar[str]
    exactly_once: ClassVar[bool] = True
    ordered: ClassVar[bool] = False
    chunk: ClassVar[int] = 400

    def __init__(self, servers: Servers, folder: Path) -> None:
        self.server: Server | None = None
        self.proxy: Proxy | None = None
        self.folder = folder
        self.sent = 0

    def document(self) -> dict[str, Any]:
        raise NotImplementedError

    def send(self, records: Sequence[Record]) -> None:
        raise NotImplementedError

    def waiting(self) -> int:
        """Records that nothing came of yet."""
        raise NotImplementedError

    def results(self) -> list[Result]:
        raise NotImplementedError

    def dead(self) -> list[str]:
        raise NotImplementedError


# ---- Kafka


class KafkaExactlyOnce(Pipeline):
    name = "kafka-exactly-once"
    ordered = True
    chunk = 1500

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self.kafka, self.proxy = servers.kafka()
        self.server = self.kafka
        self.source, self.sink, self.letters = (
            self.kafka.create(partitions) for partitions in (PARTITIONS, PARTITIONS, 1)
        )
        self.group = f"g-{token_hex(4)}"

    def document(self) -> dict[str, Any]:
        return {
            **_COMMON,
            "input": {
                "kafka": {**self._brokers(), "topics": [self.source], "group": self.group, "session_timeout": 1.5}
            },
            "decode": {"format": "json"},
            "encode": {"format": "json", "fields": _FIELDS},
            **self._outputs(),
        }

    def _brokers(self) -> dict[str, Any]:
        assert self.proxy is not None
        return {"brokers": [f"127.0.0.1:{self.proxy.port}"], "request_timeout": 4}

    def _outputs(self) -> dict[str, Any]:
        return {
            "output": {
                "kafka": {
                    **self._brokers(), "topic": self.sink, "dead_letters": self.letters, "transaction_timeout": 10,
                }
            },
            "guarantee": "exactly once",
            "order": "per key",
        }  # fmt: skip

    def send(self, records: Sequence[Record]) -> None:
        self.kafka.write(self.source, [r.json for r in records], [r.key.encode() for r in records])
        self.sent += len(records)

    def waiting(self) -> int:
        for tries_left in reversed(range(50)):
            try:
                committed = self.kafka.committed(self.group, self.source, PARTITIONS, "read_uncommitted")
            except KafkaException:
                # its coordinator is still coming up
                if not tries_left:
                    raise
                time.sleep(0.2)
            else:
                return self.sent - sum(max(0, offset) for offset in committed)
        raise AssertionError("unreachable")

    def results(self) -> list[Result]:
        def complete() -> bool:
            """Offsets may be committed a moment before the results of their transaction can be read."""
            committed, all_ = (
                self.kafka.ends(self.sink, PARTITIONS, isolation)
                for isolation in ("read_committed", "read_uncommitted")
            )
            return committed == all_

        until(complete, what="the end of the last transactions")
        documents = (json.loads(message.value()) for message in self.kafka.messages(self.sink))
        return [_result(found) for found in documents]

    def dead(self) -> list[str]:
        return [_id_of(message.value()) for message in self.kafka.messages(self.letters)]


class KafkaAtLeastOnce(KafkaExactlyOnce):
    name = "kafka-at-least-once"
    exactly_once = False

    def _outputs(self) -> dict[str, Any]:
        plain = {**self._brokers(), "transactions": False}
        return {
            "output": {"kafka": {**plain, "topic": self.sink}},
            "dead_letters": {"kafka": {**plain, "topic": self.letters}},
            "guarantee": "at least once",
            "order": "per key",
        }


class KafkaToPostgreSQL(KafkaExactlyOnce):
    """Positions beside the results. A trigger writes down each time that a result is written."""

    name = "kafka-postgresql"

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self.database, self._database_proxy = servers.postgresql()
        self.url = self.database.database()
        self.database.sql(
            """
            CREATE TABLE results (rid text PRIMARY KEY, id bigint, score double precision, version text);
            CREATE TABLE written (n bigserial, id bigint, score double precision, version text);
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN INSERT INTO written (id, score, version) VALUES (NEW.id, NEW.score, NEW.version);
                 RETURN NEW; END';
            CREATE TRIGGER note AFTER INSERT OR UPDATE ON results FOR EACH ROW EXECUTE FUNCTION note();
            """,
            self.url,
        )
        self.server, self.proxy = self.database, self._database_proxy

    def _brokers(self) -> dict[str, Any]:
        return {"brokers": [self.kafka.address], "request_timeout": 4}

    def _outputs(self) -> dict[str, Any]:
        return {
            "encode": {"format": "columns", "fields": _FIELDS},
            "output": {
                "sql": {
                    "url": _through(self.url, self._database_proxy), "table": "results", "mode": "results", "id": "rid",
                    "positions": "positions", "dead_letters": "letters", "limits": _LIMITS,
                }
            },
            "guarantee": "exactly once",
        }  # fmt: skip

    def waiting(self) -> int:
        written = int(self.database.sql("SELECT count(DISTINCT id) FROM written", self.url)[0][0])
        return self.sent - written - len(set(self.dead()))

    def results(self) -> list[Result]:
        return _rows(self.database.sql("SELECT id, score, version FROM written ORDER BY n", self.url))

    def dead(self) -> list[str]:
        if not self.database.sql("SELECT 1 FROM information_schema.tables WHERE table_name = 'letters'", self.url):
            return []
        return [
            _id_of(value) for (value,) in self.database.sql("SELECT convert_from(value, 'UTF8') FROM letters", self.url)
        ]


# ---- databases

_LIMITS = {"connect": 4, "statement": 4, "lock": 2, "idle": 4}


class PostgreSQLClaim(Pipeline):
    """Claimed, scored and written back in one transaction. Poison is a NULL where the model needs a number."""

    name = "postgresql-claim"
    chunk = 800

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self.database, self.proxy = servers.postgresql()
        self.server = self.database
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
        url = _through(self.url, self.proxy)
        return {
            **_COMMON,
            "input": {
                "sql": {
                    "url": url, "table": "work", "mode": "claim", "key": "k", "columns": ["id", *COLUMNS],
                    "status": {"reason": "reason"}, "claims": 2, "rows": 40, "poll": 0.1, "limits": _LIMITS,
                }
            },
            "decode": {"format": "columns"},
            "encode": {"format": "columns", "fields": {name: _FIELDS[name] for name in ("score", "version")}},
            "output": {
                "sql": {"url": url, "table": "work", "mode": "update", "mark_failed": True, "limits": _LIMITS}
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

    def waiting(self) -> int:
        return int(self.database.sql("SELECT count(*) FROM work WHERE status = 'new'", self.url)[0][0])

    def results(self) -> list[Result]:
        query = "SELECT id, score, version FROM written WHERE status = 'done' ORDER BY n"
        return _rows(self.database.sql(query, self.url))

    def dead(self) -> list[str]:
        return [id_ for (id_,) in self.database.sql("SELECT id FROM written WHERE status = 'failed'", self.url)]


class SQLiteLease(Pipeline):
    """Rows are lent with a fencing token, scored outside of any transaction, and written back."""

    name = "sqlite-lease"
    chunk = 800

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self.path = folder / "work.db"
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
            **_COMMON,
            "input": {
                "sql": {
                    "url": url, "table": "work", "mode": "lease", "key": "k", "columns": ["id", *COLUMNS],
                    "status": {"reason": "reason"}, "lease": {"seconds": 2}, "rows": 40, "poll": 0.1,
                }
            },
            "decode": {"format": "columns"},
            "encode": {"format": "columns", "fields": {name: _FIELDS[name] for name in ("score", "version")}},
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


# ---- queues and files


class Queue(Pipeline):
    name = "rabbitmq"
    exactly_once = False
    chunk = 1500

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self.broker, self.proxy = servers.rabbitmq()
        self.server = self.broker
        self.source, self.sink, self.letters = (self.broker.queue(type="quorum") for _ in range(3))
        self._results: list[Result] = []
        self._dead: list[str] = []

    def document(self) -> dict[str, Any]:
        broker = {"url": _through(self.broker.url, self.proxy), "heartbeat_seconds": 2, "connect_seconds": 4}
        return {
            **_COMMON,
            "input": {"rabbitmq": {**broker, "queue": self.source, "prefetch": 200, "id": "message_id"}},
            "decode": {"format": "json"},
            "encode": {"format": "json", "fields": _FIELDS},
            "output": {"rabbitmq": {**broker, "routing_key": self.sink, "confirm_seconds": 4}},
            "dead_letters": {"rabbitmq": {**broker, "routing_key": self.letters, "confirm_seconds": 4}},
            "guarantee": "at least once",
        }

    def send(self, records: Sequence[Record]) -> None:
        with self.broker.channel() as channel:
            confirmed: list[int] = [0]
            channel.events["basic_ack"].add(lambda tag, multiple: confirmed.append(max(tag, confirmed[-1])))
            channel.confirm_select()
            for record in records:
                message = amqp.Message(record.json, delivery_mode=2, message_id=str(record.id))
                # basic_publish would wait for each confirmation
                channel._basic_publish(message, "", self.source)
            while confirmed[-1] < len(records):
                channel.connection.drain_events(timeout=20)
        self.sent += len(records)

    def waiting(self) -> int:
        done = {result.id for result in self.results()} | set(self.dead())
        return self.sent - len(done)

    def results(self) -> list[Result]:
        self._results += [_result(json.loads(body)) for body in self.broker.drain(self.sink)]
        return self._results

    def dead(self) -> list[str]:
        self._dead += map(_id_of, self.broker.drain(self.letters))
        return self._dead


class Files(Pipeline):
    """A folder of lines into a folder of lines, each file whole, by a journal."""

    name = "files"
    ordered = True
    chunk = 1000

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self.source, self.sink = folder / "in", folder / "out"
        for made in (self.source, self.sink):
            made.mkdir()
        self._number = 0

    def document(self) -> dict[str, Any]:
        return {
            **_COMMON,
            "input": {
                "files": {
                    "path": str(self.source), "pattern": "*.jsonl", "stable_seconds": 0, "order": "name",
                    "poll_seconds": 0.1,
                }
            },
            "decode": {"format": "json"},
            "encode": {"format": "json", "fields": _FIELDS},
            "output": {"files": {"path": str(self.sink)}},
            "guarantee": "exactly once",
        }  # fmt: skip

    def send(self, records: Sequence[Record]) -> None:
        self._number += 1
        temporary = self.folder / "next"
        temporary.write_bytes(b"".join(record.json + b"\n" for record in records))
        temporary.rename(self.source / f"{self._number:06}.jsonl")
        self.sent += len(records)

    def waiting(self) -> int:
        return sum(path.read_bytes().count(b"\n") for path in self._waiting())

    def _waiting(self) -> list[Path]:
        return list(self.source.glob("*.jsonl"))

    def results(self) -> list[Result]:
        found = [
            json.loads(line) for path in sorted(self.sink.glob("*.jsonl")) for line in path.read_text().splitlines()
        ]
        return [_result(each) for each in found]

    def dead(self) -> list[str]:
        lines = [
            line
            for path in sorted(self.sink.glob("dead/*"))
            if path.is_file()
            for line in path.read_text().splitlines()
        ]
        return [_id_of(line) for line in lines]


def _through(url: str, proxy: Proxy | None) -> str:
    """The same address, by way of the proxy."""
    assert proxy is not None
    return url.replace(f":{proxy.target}/", f":{proxy.port}/")


def _id_of(letter: bytes | str) -> str:
    """Of the record that a dead letter holds, whose JSON may end anywhere."""
    text = letter.decode() if isinstance(letter, bytes) else letter
    found = _ID.search(text.replace("\\", "").replace('""', '"'))
    assert found is not None, text
    return found[1]


def _result(document: Any) -> Result:
    return Result(str(document["id"]), document["version"], document["score"])


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return f"'{value}'" if isinstance(value, str) else repr(value)


def _rows(rows: Sequence[tuple[str, ...]]) -> list[Result]:
    return [Result(id_, version, float(score)) for id_, score, version in rows]


def clear(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


PIPELINES: dict[str, type[Pipeline]] = {
    each.name: each
    for each in (KafkaExactlyOnce, KafkaAtLeastOnce, KafkaToPostgreSQL, PostgreSQLClaim, SQLiteLease, Queue, Files)
}
