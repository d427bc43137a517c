"""What is wrong of records, among 3,000 good ones, from every system that has bodies: each is a dead letter with a
reason, and nothing else is lost, repeated or held up."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.server import until
from streaming import Place, running

STREAM = """\
input: INPUT
decode: {format: json}
map: {x: [a, b, c, {field: d, default: 0}]}
model: affine
encode: {format: json, fields: {id: id, y: 'y[0]'}}
output: {files: {path: out}}
"""
GOOD = 3000
#: value → what its reason says
BAD: dict[bytes, str] = {
    b"{broken": "it is no JSON object",
    b'{"a": 1, "b": 0, "c": 0': "",
    b"[1, 2, 3, 4]": "expected object",
    b"null": "expected object",
    b"\xff\xfe\x00\x01": "",
    b'{"id": 1, "a": "one", "b": 0, "c": 0}': "a",
    b'{"id": 1, "a": [1], "b": 0, "c": 0}': "a",
    b'{"id": 1, "a": {"b": 1}, "b": 0, "c": 0}': "a",
    b'{"id": 1, "b": 0, "c": 0}': "a",
    b'{"id": 1, "a": null, "b": 0, "c": 0}': "a",
    b"x" * 10_000_000: "",
}


def record(n: int, **more: Any) -> bytes:
    return json.dumps({"id": n, "a": n, "b": 0, "c": 0, **more}).encode()


def mixed() -> list[bytes]:
    """The good ones in their order, one of them of 10 MB; each of the bad ones somewhere; poison at 1 in 500."""
    values = [record(n, note="x" * 10_000_000) if n == 1234 else record(n) for n in range(GOOD)]
    for at, bad in enumerate(BAD):
        values.insert(100 + 37 * at, bad)
    for n in range(GOOD // 500):
        values.insert(n * 500 + 250, b'{"poison": %d}' % n)
    return values


class Kafka:
    def __init__(self, topics: Any) -> None:
        self.topics = topics
        self.topic = topics.create(max_message_bytes="12000000")
        self.input = f"{{kafka: {{brokers: ['{topics.address}'], topics: [{self.topic}]}}}}"
        #: a record without a value is one here
        self.tombstones = 1

    def send(self, values: list[bytes]) -> None:
        self.topics.write(self.topic, [*values, None], **{"message.max.bytes": 12_000_000})

    def close(self) -> None:
        self.topics.delete(self.topic)


class RabbitMQ:
    tombstones = 0

    def __init__(self, queues: Any) -> None:
        self.queues = queues
        self.queue = queues.queue(type="quorum")
        self.input = f"{{rabbitmq: {{url: '{queues.url}', queue: {self.queue}}}}}"

    def send(self, values: list[bytes]) -> None:
        self.queues.publish(self.queue, values)

    def close(self) -> None:
        self.queues.delete(self.queue)


class Redis:
    #: an entry without the field that is the record
    tombstones = 1

    def __init__(self, streams: Any) -> None:
        self.streams = streams
        self.stream = streams.name()
        self.input = f"{{redis: {{url: '{streams.url}', stream: {self.stream}}}}}"

    def send(self, values: list[bytes]) -> None:
        self.streams.add(self.stream, values)
        with self.streams.client() as client:
            client.xadd(self.stream, {"other": "field"})

    def close(self) -> None:
        self.streams.delete(self.stream)


class Files:
    tombstones = 0
    input = "{files: {path: in, stable_seconds: 0, poll_seconds: 0.02}}"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def send(self, values: list[bytes]) -> None:
        hidden = self.folder / "in" / ".a.jsonl"
        hidden.write_bytes(b"".join(value + b"\n" for value in values))
        hidden.rename(self.folder / "in" / "a.jsonl")

    def close(self) -> None:
        pass


@pytest.fixture(params=["kafka", "rabbitmq", "redis", "files"])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made: dict[str, Callable[[], Any]] = {
        "kafka": lambda: Kafka(request.getfixturevalue("kafka")),
        "rabbitmq": lambda: RabbitMQ(request.getfixturevalue("rabbitmq")),
        "redis": lambda: Redis(request.getfixturevalue("redis")),
        "files": lambda: Files(tmp_path),
    }
    found = made[request.param]()
    yield found
    found.close()


def raw(value: Any) -> bytes:
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return str(value).encode()


def test_each_that_is_wrong_is_a_dead_letter_and_the_others_are_scored(system: Any, tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "double.yaml").write_text(STREAM.replace("INPUT", system.input))
    expected = len(BAD) + GOOD // 500 + system.tombstones
    with running(place) as process:
        system.send(mixed())
        until(lambda: process.view()["records"]["acknowledged"] >= GOOD + expected, what="all of them", limit=90)
        view = process.view()
        assert (view["records"]["dead"], view["records"]["written"]) == (expected, GOOD)
        assert view["state"] == "running"
    assert sorted(result["id"] for result in place.results()) == list(range(GOOD))
    assert all(result["y"] == 3.0 * result["id"] for result in place.results())
    letters = [(letter["value"], letter["reason"]) for letter in place.dead()]
    assert len(letters) == expected
    told = {raw(value): reason for value, reason in letters if value is not None}
    for bad, says in BAD.items():
        assert told[bad], bad[:50]
        assert says in told[bad], (bad[:50], told[bad])
    assert sum(value.startswith(b'{"poison"') for value in told) == GOOD // 500
    tombstones = [reason for value, reason in letters if value is None]
    assert len(tombstones) == system.tombstones
    assert all("tombstone" in reason or "no field 'body'" in reason for reason in tombstones)
