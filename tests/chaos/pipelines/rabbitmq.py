"""A queue to a queue."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import amqp
from chaos.pipelines.pipeline import COMMON, FIELDS, Pipeline, Site, id_of, result_of
from chaos.pipelines.servers import Servers, through
from chaos.records import Record
from oracle import Result


class Queue(Pipeline):
    name = "rabbitmq"
    exactly_once = False
    atomic = False
    chunk = 1500

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self.broker, self.proxy = servers.rabbitmq()
        self.sites = [Site(self.broker, self.proxy)]
        self.source, self.sink, self.letters = (self.broker.queue(type="quorum") for _ in range(3))
        self._results: list[Result] = []
        self._dead: list[str] = []

    def document(self) -> dict[str, Any]:
        broker = {"url": through(self.broker.url, self.proxy), "heartbeat_seconds": 2, "connect_seconds": 4}
        return {
            **COMMON,
            "input": {"rabbitmq": {**broker, "queue": self.source, "prefetch": 200, "id": "message_id"}},
            "decode": {"format": "json"},
            "encode": {"format": "json", "fields": FIELDS},
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

    def is_commit(self, said: bytes) -> bool:
        """basic.publish, which is to be confirmed."""
        return b"\0\x3c\0\x28" in said

    def waiting(self) -> int:
        done = {result.id for result in self.results()} | set(self.dead())
        return self.sent - len(done)

    def results(self) -> list[Result]:
        self._results += [result_of(json.loads(body)) for body in self.broker.drain(self.sink)]
        return self._results

    def dead(self) -> list[str]:
        self._dead += map(id_of, self.broker.drain(self.letters))
        return self._dead
