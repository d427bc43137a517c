"""Streams from Redis to Redis, through kills of all that they stand on."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from servers.redis import Redis, Streams
from servers.server import until as happens
from streaming import Place, Running, running

from gateway.core import letter

STREAM = """\
input: {redis: {url: 'URL', stream: NAME, key: user, consumer: one}}
decode: {format: json}
map: {x: [a, b, c, {field: d, default: 0}]}
model: affine
encode: {format: json, fields: {id: id, y: 'y[0]', version: $version}}
output: {redis: {url: 'URL', stream: NAME-out, dead_letters: NAME-dead}}
batching: {rows: 50, rows_in_flight: 200}
guarantee: exactly once
"""


def record(n: int) -> bytes:
    return b"{broken" if n % 10 == 4 else json.dumps({"id": n, "a": n, "b": 0, "c": 0}).encode()


def place_of(folder: Path, server: Streams, stream: str) -> Place:
    place = Place(folder)
    (folder / "double.yaml").write_text(STREAM.replace("URL", server.url).replace("NAME", stream))
    return place


def test_what_a_killed_process_had_is_scored_by_another(tmp_path: Path, redis: Streams, stream: str) -> None:
    redis.add(stream, [record(n) for n in range(1000)])
    places = {}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        places[name] = place_of(tmp_path / name, redis, stream)
        file = tmp_path / name / "double.yaml"
        file.write_text(file.read_text().replace("consumer: one", f"consumer: {name}, claim_seconds: 1"))
    died = Running(places["a"], "double.yaml", SLUICE_CRASH_AT="before-write:3")
    assert died.process.wait(60) == -signal.SIGKILL, died.text()
    assert {consumer for _, consumer, _ in redis.pending(stream, "double")} == {"a"}
    with running(places["b"]):
        happens(lambda: len(redis.bodies(f"{stream}-out")) >= 900, what="900 results")
        happens(lambda: redis.pending(stream, "double") == [], what="all acknowledged")
    results = [json.loads(body)["id"] for body in redis.bodies(f"{stream}-out")]
    assert sorted(results) == [n for n in range(1000) if n % 10 != 4]


def test_each_once_through_kills_of_the_stream_and_of_the_server(tmp_path: Path, own_redis: Redis) -> None:
    name = own_redis.name()
    own_redis.add(name, [record(n) for n in range(1000)], user="ann")
    place = place_of(tmp_path, own_redis, name)
    for point in ("after-write:5", "before-write:3", "after-read:4"):
        died = Running(place, "double.yaml", SLUICE_CRASH_AT=point)
        assert died.process.wait(60) == -signal.SIGKILL, died.text()
        own_redis.kill()
        own_redis.start()
    with running(place) as process:
        happens(lambda: len(own_redis.bodies(f"{name}-out")) == 900, what="900 results")
        happens(lambda: len(own_redis.bodies(f"{name}-dead")) == 100, what="100 dead letters")
        results = [json.loads(body) for body in own_redis.bodies(f"{name}-out")]
        assert [(found["id"], found["y"]) for found in results] == [(n, 3.0 * n) for n in range(1000) if n % 10 != 4]
        assert {(found["key"], found["sluice-version"]) for found in own_redis.entries(f"{name}-out")} == {
            (b"ann", b"2")
        }
        assert own_redis.pending(name, "double") == []
        assert process.view()["guarantee"].startswith("exactly once")
        done = process.sluice("redrive", "double", "--json")
        assert json.loads(done.stdout) == {"records": 100, "left": 0}, done.stderr
        happens(lambda: len(own_redis.bodies(f"{name}-dead")) == 100, what="the same dead letters")
        letters = [letter.decode(body) for body in own_redis.bodies(f"{name}-dead")]
        assert {(found.message.value, found.message.key, found.attempts) for found in letters} == {
            (b"{broken", b"ann", 2)
        }
        assert process.view()["lag"]
    own_redis.delete(name, f"{name}-out", f"{name}-dead")
