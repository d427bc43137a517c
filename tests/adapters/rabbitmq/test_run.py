"""`sluice streams run` between queues, in a real process: requests answered, poison set aside and put back, a kill."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import amqp
import pytest
from servers.rabbitmq import Queues
from servers.server import until
from streaming import Place, Running, running

STREAM = """\
input: {rabbitmq: {url: URL, queue: ASKED}}
decode: {format: json}
map: {x: [a, b, c, {field: d, default: 0}]}
model: affine
encode: {format: json, fields: {id: id, y: 'y[0]'}}
output: {rabbitmq: {url: URL, reply: true, routing_key: SCORED}}
dead_letters: {rabbitmq: {url: URL, routing_key: DEAD}}
"""


@pytest.fixture
def queues(rabbitmq: Queues) -> Iterator[list[str]]:
    names = [rabbitmq.queue(type="quorum") for _ in range(3)]
    yield names
    rabbitmq.delete(*names)


def place_of(folder: Path, text: str, broker: Queues, queues: list[str]) -> Place:
    place = Place(folder)
    for name, value in zip(("URL", "ASKED", "SCORED", "DEAD"), [broker.url, *queues], strict=True):
        text = text.replace(name, value)
    (folder / "double.yaml").write_text(text)
    return place


def question(n: int) -> bytes:
    return b"{broken" if n % 10 == 4 else json.dumps({"id": n, "a": n, "b": 0, "c": 0}).encode()


def test_who_asks_is_answered_and_poison_can_be_put_back(tmp_path: Path, rabbitmq: Queues, queues: list[str]) -> None:
    asked, scored, dead = queues
    place = place_of(tmp_path, STREAM, rabbitmq, queues)
    with running(place) as process, rabbitmq.channel() as channel:
        reply = channel.queue_declare(exclusive=True).queue
        answers: dict[str, dict[str, float]] = {}
        channel.basic_consume(
            reply, no_ack=True,
            callback=lambda m: answers.__setitem__(m.properties["correlation_id"], json.loads(m.body)),
        )  # fmt: skip
        for n in range(50):
            given = amqp.Message(question(n), reply_to=reply, correlation_id=f"c{n}")
            channel.basic_publish(given, "", asked)
        while len(answers) < 45:
            channel.connection.drain_events(timeout=30)
        assert answers == {f"c{n}": {"id": n, "y": 3.0 * n} for n in range(50) if n % 10 != 4}
        rabbitmq.publish(asked, [question(7)])  # nobody waits for this one
        until(lambda: rabbitmq.depth(scored) == 1, what="the result without an address")
        until(lambda: rabbitmq.depth(dead) == 5, what="5 dead letters")
        assert process.view()["guarantee"].startswith("at least once")
        done = process.sluice("redrive", "double", "--json")
        assert json.loads(done.stdout) == {"records": 5, "left": 0}, done.stderr
        until(lambda: rabbitmq.depth(dead) == 5, what="the same dead letters")
        letters = [json.loads(body) for body in rabbitmq.bodies(dead)]
        assert {letter["value"] for letter in letters} == {"{broken"}
        assert {letter["attempts"] for letter in letters} == {2}
        assert "it is no JSON object" in letters[0]["reason"]


REDRIVEN = """\
input: {rabbitmq: {url: URL, queue: ASKED, id: message_id}}
decode: {format: json}
map: {x: [a, b, c, {field: FIELD, default: 0}]}
model: affine
encode: {format: columns, fields: {n: id, y: 'y[0]'}}
output: {sql: {url: 'sqlite:///results.db', table: results, id: id}}
dead_letters: {rabbitmq: {url: URL, exchange: dead.SCORED, redrive_from: DEAD, dead_letters: record}}
errors: {breaker: {share: 1}}
"""


def test_what_is_put_back_is_neither_lost_nor_twice_through_kills(
    tmp_path: Path, rabbitmq: Queues, queues: list[str]
) -> None:
    """Letters of an exchange; killed before their records are published, before that is confirmed to the letters'
    queue, and between two batches."""
    asked, scored, dead = queues
    with rabbitmq.channel() as channel:
        channel.exchange_declare(f"dead.{scored}", "fanout", durable=True, auto_delete=False)
        channel.queue_bind(dead, f"dead.{scored}")
        for n in range(200):
            body = json.dumps({"id": n, "a": n, "b": 0, "c": 0, "d": 0 if n % 2 else "wrong"}).encode()
            channel.basic_publish(amqp.Message(body, delivery_mode=2, message_id=f"m{n}"), "", asked)
    place = place_of(tmp_path, REDRIVEN.replace("FIELD", "d"), rabbitmq, queues)
    with closing(sqlite3.connect(tmp_path / "results.db")) as database:
        database.execute("CREATE TABLE results (id TEXT PRIMARY KEY, n INTEGER, y REAL)")
        database.commit()
        with running(place):
            until(lambda: rabbitmq.depth(dead) == 100, what="100 dead letters")
        # the stream is mended
        mended = (place.folder / "double.yaml").read_text().replace("field: d,", "field: none,")
        (place.folder / "double.yaml").write_text(mended)
        for point in ("before-write", "after-write", "after-ack"):
            # nothing waits in the input: only the redrive passes there, or what it put back
            died = Running(place, "double.yaml", SLUICE_CRASH_AT=point)
            until(died.ready, what="being ready")
            died.sluice("redrive", "double")
            assert died.process.wait(60) == -signal.SIGKILL, died.text()
        with running(place) as process:
            done = process.sluice("redrive", "double", "--json")
            assert done.returncode == 0, done.stderr
            until(lambda: database.execute("SELECT count(*) FROM results").fetchone() == (200,), what="200 results")
        rows = database.execute("SELECT id, n, y FROM results").fetchall()
    assert sorted(rows, key=lambda row: row[1]) == [(f"m{n}", n, 3.0 * n) for n in range(200)]
    assert rabbitmq.depth(asked) == rabbitmq.depth(dead) == 0
    with rabbitmq.channel() as channel:
        channel.exchange_delete(f"dead.{scored}")


EXACT = """\
input: {rabbitmq: {url: URL, queue: ASKED, id: message_id}}
decode: {format: json}
map: {x: [a, b, c, {field: d, default: 0}]}
model: affine
encode: {format: columns, fields: {n: id, y: 'y[0]'}}
output: {sql: {url: 'sqlite:///results.db', table: results, id: id, dead_letters: dead}}
batching: {rows: 50, rows_in_flight: 200}
guarantee: exactly once
"""


def test_each_once_in_a_table_through_kills(tmp_path: Path, rabbitmq: Queues, queues: list[str]) -> None:
    place = place_of(tmp_path, EXACT, rabbitmq, queues)
    with closing(sqlite3.connect(tmp_path / "results.db")) as database:
        database.execute("CREATE TABLE results (id TEXT PRIMARY KEY, n INTEGER, y REAL)")
        database.commit()
        with rabbitmq.channel() as channel:
            for n in range(1000):
                channel.basic_publish(amqp.Message(question(n), delivery_mode=2, message_id=f"m{n}"), "", queues[0])
        for point in ("after-write:5", "before-write:3", "after-read:4"):
            died = Running(place, "double.yaml", SLUICE_CRASH_AT=point)
            assert died.process.wait(60) == -signal.SIGKILL, died.text()
        with running(place):
            until(lambda: database.execute("SELECT count(*) FROM results").fetchone() == (900,), what="900 results")
        rows = database.execute("SELECT id, n, y FROM results").fetchall()
        assert sorted(rows, key=lambda row: row[1]) == [(f"m{n}", n, 3.0 * n) for n in range(1000) if n % 10 != 4]
        assert database.execute("SELECT count(*) FROM dead").fetchone() == (100,)
    assert rabbitmq.depth(queues[0]) == 0
