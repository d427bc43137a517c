"""A stream to a stream of the same server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos.pipelines.pipeline import COMMON, FIELDS, Pipeline, Site, id_of, result_of
from chaos.pipelines.servers import Servers, through
from chaos.records import Record
from oracle import Result

from gateway.core import letter


class RedisStreams(Pipeline):
    """Results are added and entries acknowledged by one script, in which nothing commits by itself."""

    name = "redis"
    commits = False
    atomic = False
    chunk = 1500

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self.redis, self.proxy = servers.redis()
        self.sites = [Site(self.redis, self.proxy)]
        self.source, self.sink, self.letters = (self.redis.name() for _ in range(3))

    def document(self) -> dict[str, Any]:
        server = {"url": through(self.redis.url, self.proxy), "timeout_seconds": 4}
        return {
            **COMMON,
            "input": {"redis": {**server, "stream": self.source, "claim_seconds": 2}},
            "decode": {"format": "json"},
            "encode": {"format": "json", "fields": FIELDS},
            "output": {"redis": {**server, "stream": self.sink, "dead_letters": self.letters}},
            "guarantee": "exactly once",
        }

    def send(self, records: Sequence[Record]) -> None:
        self.redis.add(self.source, [record.json for record in records])
        self.sent += len(records)

    def is_commit(self, said: bytes) -> bool:
        return b"EVALSHA" in said

    def waiting(self) -> int:
        with self.redis.client() as client:
            return max(0, self.sent - int(client.xlen(self.sink)) - int(client.xlen(self.letters)))

    def results(self) -> list[Result]:
        return [result_of(json.loads(body)) for body in self.redis.bodies(self.sink)]

    def dead(self) -> list[str]:
        return [id_of(letter.decode(body).message.value or b"") for body in self.redis.bodies(self.letters)]
