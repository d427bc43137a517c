"""`sluice streams run` between topics, in a real process: poison set aside and put back, and kill -9 at every place."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from oracle import Ledger, Result
from servers.server import until
from streaming import Place, Running, running

from gateway.core import letter
from gateway.core.crashpoint import POINTS

if TYPE_CHECKING:
    from servers.kafka import Topics

FACTORS = {"1": 2.0, "2": 3.0}
STREAM = """\
input: {kafka: {brokers: [BROKER], topics: [SOURCE], session_timeout: 1, revoke_timeout: 0.3}}
decode: {format: json}
map: {x: [a, b, c, {field: d, default: 0}]}
model: affine
encode: {format: json, fields: {id: id, y: 'y[0]', version: $version}}
output: {kafka: {brokers: [BROKER], topic: TARGET, MORE}}
batching: {rows: 25, rows_in_flight: 300}
"""
EXACTLY = "dead_letters: DEAD"
AT_LEAST = "transactions: false"


@pytest.fixture
def names(kafka: Topics) -> Iterator[list[str]]:
    topics = [kafka.create(3), kafka.create(3), kafka.create()]
    yield topics
    kafka.delete(*topics)


def place_of(folder: Path, topics: Topics, names: list[str], more: str, guarantee: str) -> Place:
    text = STREAM.replace("MORE", more)
    for word, name in zip(("BROKER", "SOURCE", "TARGET", "DEAD"), [topics.address, *names], strict=True):
        text = text.replace(word, name)
    place = Place(folder)
    (folder / "double.yaml").write_text(f"{text}guarantee: {guarantee}\n")
    (folder / "sluice.yaml").write_text("models: models\nsplits: {affine: {weights: {'1': 50, '2': 50}}}\n")
    return place


def produce(topics: Topics, source: str, ledger: Ledger, count: int) -> None:
    values, keys = [], []
    for n in range(count):
        entry = ledger.produce(str(n), str(n % 13), [float(n)], poison=n % 50 == 4)
        values.append(f"{{broken {n}" if entry.poison else json.dumps({"id": n, "a": n, "b": 0, "c": 0}))
        keys.append(entry.key.encode())
    topics.write(source, [value.encode() for value in values], keys)


def compute(version: str, features: Sequence[float]) -> float:
    return FACTORS[version] * features[0]


def results(topics: Topics, target: str) -> list[Result]:
    found = [json.loads(value or b"") for _, value, _ in topics.read(target)]
    return [Result(str(one["id"]), one["version"], one["y"]) for one in found]


def buried(topics: Topics, dead: str) -> list[str]:
    letters = [letter.decode(value or b"") for _, value, _ in topics.read(dead)]
    return [(one.message.value or b"").decode().removeprefix("{broken ") for one in letters]


def test_poison_is_set_aside_and_can_be_put_back(tmp_path: Path, kafka: Topics, names: list[str]) -> None:
    source, target, dead = names
    place, ledger = place_of(tmp_path, kafka, names, EXACTLY, "exactly once"), Ledger()
    produce(kafka, source, ledger, 200)
    with running(place) as process:
        until(lambda: len(kafka.messages(target)) == 196, what="196 results")
        assert len(buried(kafka, dead)) == 4
        done = process.sluice("redrive", "double", "--json")
        assert json.loads(done.stdout) == {"records": 4, "left": 0}, done.stderr
        until(lambda: len(kafka.messages(dead)) == 8, what="the same dead letters")
    again = [letter.decode(value or b"") for _, value, _ in kafka.read(dead)][4:]
    assert {one.attempts for one in again} == {2}
    verdict = ledger.judge(results(kafka, target), buried(kafka, dead)[:4], compute)
    assert verdict.exact, verdict
    # a result is beside its record, and says who gave it
    partitions = {m.key(): m.partition() for m in kafka.messages(source)}
    for message in kafka.messages(target):
        assert message.partition() == partitions[message.key()]
        found = dict(message.headers())
        assert found["sluice-model"] == b"affine"
        assert found["sluice-version"].decode() == json.loads(message.value())["version"]


@pytest.mark.parametrize("point", POINTS)
def test_kill_9_loses_and_repeats_nothing(tmp_path: Path, kafka: Topics, names: list[str], point: str) -> None:
    source, target, dead = names
    place, ledger = place_of(tmp_path, kafka, names, EXACTLY, "exactly once"), Ledger()
    produce(kafka, source, ledger, 500)
    died = Running(place, "double.yaml", SLUICE_CRASH_AT=f"{point}:4")
    assert died.process.wait(60) == -signal.SIGKILL, died.text()
    with running(place):
        until(lambda: sum(kafka.committed("double", source, 3)) >= 500, 60, "the scoring of all records")
    verdict = ledger.judge(results(kafka, target), buried(kafka, dead), compute)
    assert verdict.exact, verdict


@pytest.mark.parametrize("point", ["after-predict", "after-write", "in-dead-letter"])
def test_kill_9_loses_nothing_where_offsets_follow(tmp_path: Path, kafka: Topics, names: list[str], point: str) -> None:
    """At least once: what was written and not yet acknowledged comes again."""
    source, target, _ = names
    place, ledger = place_of(tmp_path, kafka, names, AT_LEAST, "at least once"), Ledger()
    produce(kafka, source, ledger, 500)
    died = Running(place, "double.yaml", SLUICE_CRASH_AT=f"{point}:4")
    assert died.process.wait(60) == -signal.SIGKILL, died.text()
    with running(place):
        until(lambda: sum(kafka.committed("double", source, 3)) >= 500, 60, "the scoring of all records")
    folder = place.folder / ".sluice" / "streams" / "double" / "dead"
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    letters = [(letter.decode(line).message.value or b"").decode().removeprefix("{broken ") for line in lines]
    verdict = ledger.judge(results(kafka, target), letters, compute)
    assert verdict.sound, verdict
    assert verdict.duplicates <= 300, verdict
