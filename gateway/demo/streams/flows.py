"""What flows in the demo: for each system a stream, and the records that it is given."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from gateway.core.stream import Batch, Context, Message, Rows, Token
from gateway.demo.streams.systems import Kafka, PostgreSQL, RabbitMQ
from gateway.demo.training import CANCER
from gateway.pipeline.declared import connectors

#: the columns of a table, and the fields of a message
FEATURES: Final = tuple(f"m{number}" for number in range(1, 31))
SCORE: Final = "output_probability[1]"
#: of so many records one is broken
BROKEN: Final = 400

COPYBOOK: Final = """\
       01  PATIENT.
           05  PATIENT-ID          PIC 9(8).
           05  MEASURE             PIC S9(5)V9(6) COMP-3 OCCURS 30.
           05  BENIGN              PIC S9V9(4) COMP-3.
           05  MODEL-VERSION       PIC X(4).
"""
_LENGTH: Final = 195

Records = Sequence[Sequence[float]]


class Flow:
    """A stream, and how its records come to be. `way` is from where to where, in words."""

    name = ""
    way = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stream(self) -> dict[str, Any]:
        raise NotImplementedError

    def write(self) -> None:
        path = self.folder / "streams" / f"{self.name}.yaml"
        # how many wait is to be seen as it is: an operator need not ask so often
        path.write_text(yaml.safe_dump(self.stream() | {"lag_interval": 0.5}, sort_keys=False))

    def feed(self, records: Records) -> None:
        """All of them, some broken."""
        raise NotImplementedError


class LentRows(Flow):
    """Rows of SQLite, which are lent to whoever scores them, and updated."""

    name = "table"
    way = "SQLite rows → the same rows"

    @property
    def _database(self) -> Path:
        return self.folder / "patients.db"

    def stream(self) -> dict[str, Any]:
        url = f"sqlite:///{self._database}"
        return _of_table(url, "lease") | {
            "output": {"sql": {"url": url, "mode": "update", "dead_letters": "dead_letters"}},
            "guarantee": "exactly once",
        }

    def feed(self, records: Records) -> None:
        columns = ", ".join(f"{name} REAL" for name in FEATURES)
        with closing(sqlite3.connect(self._database)) as db, db:
            db.execute(
                f"CREATE TABLE patients (id INTEGER PRIMARY KEY, {columns}, status TEXT NOT NULL DEFAULT 'new',"
                " claimed_until TEXT, claimed_by TEXT, benign REAL, scored_by TEXT)"
            )
            db.execute("CREATE INDEX patients_status ON patients (status)")
            db.executemany(
                f"INSERT INTO patients (id, {', '.join(FEATURES)}) VALUES (?{', ?' * len(FEATURES)})",  # noqa: S608
                ([number, *(None if _broken(number) and at == 3 else value for at, value in enumerate(row))]
                 for number, row in enumerate(records)),
            )  # fmt: skip

    def mend(self) -> int:
        """Gives the broken rows the value that they lack. Returns how many."""
        with closing(sqlite3.connect(self._database, timeout=10)) as db, db:
            return db.execute("UPDATE patients SET m4 = 600.0 WHERE m4 IS NULL").rowcount

    def scored(self) -> int:
        with closing(sqlite3.connect(self._database, timeout=10)) as db:
            count: int = db.execute("SELECT count(*) FROM patients WHERE benign IS NOT NULL").fetchone()[0]
            return count


class Mainframe(Flow):
    """Records of a COBOL program, in EBCDIC."""

    name = "mainframe"
    way = "EBCDIC file → EBCDIC file"

    def stream(self) -> dict[str, Any]:
        return {
            "input": {"files": {
                "path": str(self.folder / "inbox"), "records": "fixed", "length": _LENGTH, "stable_seconds": 0,
                "poll_seconds": 0.1,
            }},
            "decode": {"format": "copybook", "copybook": "../patient.cpy"},
            "map": {"X": {"field": "MEASURE", "width": 30}},
            "model": CANCER,
            "encode": {
                "format": "copybook", "copybook": "../patient.cpy",
                "fields": {"PATIENT-ID": "PATIENT-ID", "BENIGN": SCORE, "MODEL-VERSION": "$version"},
            },
            "output": {"files": {
                "path": str(self.folder / "outbox"), "name": "{stem}.out", "records": "fixed", "length": _LENGTH,
            }},
        }  # fmt: skip

    def feed(self, records: Records) -> None:
        import numpy as np

        from gateway.codecs.records.columns import Columns
        from gateway.codecs.records.copybook.encoder import CopybookEncoder
        from gateway.codecs.records.copybook.layout import RecordLayout

        (self.folder / "patient.cpy").write_text(COPYBOOK)
        encoder = CopybookEncoder(RecordLayout.read(COPYBOOK), {"PATIENT-ID": "id", "MEASURE": "m"})
        columns = Columns(len(records), {"id": np.arange(len(records)), "m": np.array(records, np.float64)})
        values = [
            value[:20] + b"\xff" + value[21:] if _broken(number) else value
            for number, value in enumerate(encoder.encode(columns).values)
        ]
        inbox = self.folder / "inbox"
        inbox.mkdir()
        (inbox / ".patients").write_bytes(b"".join(values))
        (inbox / ".patients").rename(inbox / "patients.dat")


class Claims(Flow):
    """Rows of PostgreSQL, claimed and updated in one transaction."""

    name = "postgresql"
    way = "PostgreSQL rows → the same rows"

    def __init__(self, folder: Path, system: PostgreSQL) -> None:
        super().__init__(folder)
        self._system = system

    def stream(self) -> dict[str, Any]:
        url = self._system.address
        return _of_table(url, "claim") | {
            "output": {"sql": {"url": url, "mode": "update", "mark_failed": True}},
            "guarantee": "exactly once",
        }

    def feed(self, records: Records) -> None:
        columns = ", ".join(f"{name} double precision" for name in FEATURES)
        lines = [
            "\t".join([str(n), *("\\N" if _broken(n) and at == 3 else repr(value) for at, value in enumerate(row))])
            for n, row in enumerate(records)
        ]
        self._system.sql(
            f"CREATE TABLE patients (id bigint PRIMARY KEY, {columns}, status text NOT NULL DEFAULT 'new',"
            " benign double precision, scored_by text);\nCREATE INDEX ON patients (id) WHERE status = 'new';\n"
            f"COPY patients (id, {', '.join(FEATURES)}) FROM stdin;\n" + "\n".join(lines) + "\n\\.\n"
        )


class Queue(Flow):
    """Messages of RabbitMQ."""

    name = "rabbitmq"
    way = "RabbitMQ queue → queue"

    def __init__(self, folder: Path, system: RabbitMQ) -> None:
        super().__init__(folder)
        self._system = system

    def stream(self) -> dict[str, Any]:
        url = self._system.address
        return _of_messages() | {
            "input": {"rabbitmq": {"url": url, "queue": "patients", "declare": True, "queue_type": "classic"}},
            "output": {"rabbitmq": {
                "url": url, "routing_key": "diagnoses", "declare": True, "queue_type": "classic",
            }},
        }  # fmt: skip

    def feed(self, records: Records) -> None:
        given = {"url": self._system.address, "routing_key": "patients", "declare": True, "queue_type": "classic"}
        asyncio.run(_put("rabbitmq", given, _messages(records)))


class Topic(Flow):
    """Records of Kafka, exactly once."""

    name = "kafka"
    way = "Kafka topic → topic"

    def __init__(self, folder: Path, system: Kafka) -> None:
        super().__init__(folder)
        self._system = system

    def stream(self) -> dict[str, Any]:
        brokers = [self._system.address]
        return _of_messages() | {
            "input": {"kafka": {"brokers": brokers, "topics": ["patients"]}},
            "output": {"kafka": {"brokers": brokers, "topic": "diagnoses", "dead_letters": "patients-dead"}},
            "guarantee": "exactly once",
        }

    def feed(self, records: Records) -> None:
        given = {"brokers": [self._system.address], "topic": "patients", "transactions": False}
        asyncio.run(_put("kafka", given, _messages(records)))


def _of_table(url: str, mode: str) -> dict[str, Any]:
    return {
        "input": {"sql": {"url": url, "table": "patients", "mode": mode, "columns": list(FEATURES), "poll": 0.2}},
        "decode": {"format": "columns"},
        "map": {"X": list(FEATURES)},
        "model": CANCER,
        "encode": {"format": "columns", "fields": {"benign": SCORE, "scored_by": "$version"}},
    }


def _of_messages() -> dict[str, Any]:
    return {
        "decode": {"format": "json"},
        "map": {"X": {"field": "measured", "width": 30}},
        "model": CANCER,
        "encode": {"format": "json", "fields": {"patient": "patient", "benign": SCORE, "version": "$version"}},
    }


def _messages(records: Records) -> list[Message]:
    return [
        Message(str(n), b"broken" if _broken(n) else json.dumps({"patient": n, "measured": row}).encode(), b"%d" % n)
        for n, row in enumerate(records)
    ]


async def _put(adapter: str, given: dict[str, Any], messages: Sequence[Message]) -> None:
    """By the adapter's own output, which says nothing of a topic that comes to be only now."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    door = connectors.adapter(adapter).output
    if door is None:
        raise AssertionError(f"{adapter} has an output")
    output = door.open(msgspec.convert(given, door.settings), Context("demo-feed"))
    try:
        await output.connect()
        for at in range(0, len(messages), 1000):
            await output.write(Rows(Batch.of(messages[at : at + 1000]), Token("feed", 1)))
    finally:
        await output.close()


def _broken(number: int) -> bool:
    return number % BROKEN == BROKEN // 2
