"""Kafka to Kafka, in transactions and without, and Kafka to a database that keeps the positions."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar

from chaos.pipelines.pipeline import COMMON, FIELDS, Pipeline, Site, id_of, result_of
from chaos.pipelines.servers import Servers, through
from chaos.pipelines.sql import LIMITS, rows_of
from chaos.records import Record
from confluent_kafka import KafkaException
from oracle import Result
from servers.server import until

PARTITIONS = 4
#: Kafka's numbers of requests
PRODUCE, END_TXN = 0, 26


class KafkaExactlyOnce(Pipeline):
    name = "kafka-exactly-once"
    ordered = True
    atomic = False
    chunk = 1500
    #: by number, the request that makes what was written hold
    commit: ClassVar[int] = END_TXN
    request_timeout: ClassVar[float] = 4

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self.kafka, self.proxy = servers.kafka()
        self.sites = [Site(self.kafka, self.proxy)]
        self.source, self.sink, self.letters = (
            self.kafka.create(partitions) for partitions in (PARTITIONS, PARTITIONS, 1)
        )
        self.group = f"g-{token_hex(4)}"

    def document(self) -> dict[str, Any]:
        return {
            **COMMON,
            "input": {
                "kafka": {**self._brokers(), "topics": [self.source], "group": self.group, "session_timeout": 1.5}
            },
            "decode": {"format": "json"},
            "encode": {"format": "json", "fields": FIELDS},
            **self._outputs(),
        }

    def _brokers(self) -> dict[str, Any]:
        return {"brokers": [f"127.0.0.1:{self.proxy.port}"], "request_timeout": self.request_timeout}

    def _outputs(self) -> dict[str, Any]:
        return {
            "output": {
                "kafka": {
                    **self._brokers(), "topic": self.sink, "dead_letters": self.letters,
                }
            },
            "guarantee": "exactly once",
            "order": "per key",
        }  # fmt: skip

    def send(self, records: Sequence[Record]) -> None:
        self.kafka.write(self.source, [r.json for r in records], [r.key.encode() for r in records])
        self.sent += len(records)

    def is_commit(self, said: bytes) -> bool:
        """A request begins with its length and its number."""
        return int.from_bytes(said[4:6]) == self.commit

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

        until(complete, 90, "the end of the last transactions")
        documents = (json.loads(message.value()) for message in self.kafka.messages(self.sink))
        return [result_of(found) for found in documents]

    def dead(self) -> list[str]:
        return [id_of(message.value()) for message in self.kafka.messages(self.letters)]


class KafkaAtLeastOnce(KafkaExactlyOnce):
    name = "kafka-at-least-once"
    exactly_once = False
    commits = False
    commit = PRODUCE

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
    repeats = True

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
        self.sites.insert(0, Site(self.database, self._database_proxy))

    def _outputs(self) -> dict[str, Any]:
        return {
            "encode": {"format": "columns", "fields": FIELDS},
            "output": {
                "sql": {
                    "url": through(self.url, self._database_proxy), "table": "results", "mode": "results", "id": "rid",
                    "positions": "positions", "dead_letters": "letters", "limits": LIMITS | {"idle": 4},
                }
            },
            "guarantee": "exactly once",
        }  # fmt: skip

    def again(self) -> None:
        """The group's own offsets are set back to the beginning, as an operator may do."""
        for partition in range(PARTITIONS):
            until(partial(self._rewound, partition), 30, "setting the group back")

    def _rewound(self, partition: int) -> bool:
        try:
            self.kafka.commit(self.group, self.source, 0, partition)
        except KafkaException:  # until its dead member's session is over
            return False
        return True

    def is_commit(self, said: bytes) -> bool:
        return b"COMMIT" in said

    def waiting(self) -> int:
        written = int(self.database.sql("SELECT count(DISTINCT id) FROM written", self.url)[0][0])
        return self.sent - written - len(set(self.dead()))

    def results(self) -> list[Result]:
        return rows_of(self.database.sql("SELECT id, score, version FROM written ORDER BY n", self.url))

    def dead(self) -> list[str]:
        if not self.database.sql("SELECT 1 FROM information_schema.tables WHERE table_name = 'letters'", self.url):
            return []
        return [
            id_of(value) for (value,) in self.database.sql("SELECT convert_from(value, 'UTF8') FROM letters", self.url)
        ]
