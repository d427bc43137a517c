"""Kafka → Kafka: what a record costs a stream worker, beside what the clients cost without a model.

T with 30 JSON numbers in and two out, four partitions, the producer ahead of time; a broker as it is run in earnest,
and warm. Each contender is a process of its own, so that its CPU time is its own; CPU time is all threads', from the
first record to the last acknowledgement.

    least         Sluice, at least once, by records of a batch
    exactly       the same, exactly once
    send          aiokafka consumes, and `send`s the same bytes: no model
    send_batch    the same by batches of a partition: the least that aiokafka can do
    confluent     librdkafka consumes and produces the same bytes
    latency       one record in flight: from the write of a record to its result at a reader that reads committed
    hundred       connections and memory of a worker that has all 100 partitions

`python -m loadtests.streams_kafka [--rounds N]`; SLUICE_TEST_KAFKA=host:port takes a broker that is there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from loadtests.kafka_contenders import PARTITIONS, RECORDS
from loadtests.process import ROOT
from loadtests.report import Figure, Report

PACKAGES: Final = ("aiokafka", "confluent-kafka")
#: Sluice by records of a batch, and what it is held against, in each round
ROUND: Final = (("least", 1000), ("least", 4000), ("exactly", 1000), ("exactly", 4000), ("send", 1000))
#: rounds that are not counted: Java compiles a broker's code when it has run for a while
WARM_UP: Final = 2
#: what Kafka's own script starts a broker with; those of tests start sooner, and work slower
JVM: Final = (
    "-Xms1G", "-Xmx1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
)  # fmt: skip
#: limits, once
LIMITS: Final = ("send_batch", "confluent")
GUARANTEES: Final = {"least": "at least once", "exactly": "exactly once"}

Found = dict[str, float]


@contextmanager
def broker() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "tests"))
    from servers.kafka import Kafka, Topics

    if address := os.environ.get("SLUICE_TEST_KAFKA"):
        yield Topics(address)
        return
    own = Kafka()
    own.jvm = JVM
    with own as running:
        yield running


def run(
    topics: Any, models: Path, what: str, source: str, rows: int, *, partitions: int = PARTITIONS, flag: str = ""
) -> Found:
    output, dead = topics.create(partitions), topics.create()
    command = [
        sys.executable, "-m", "loadtests.kafka_contenders", "--worker", what, "--broker", topics.address,
        "--input", source, "--output", output, "--dead", dead, "--rows", str(rows), "--models", str(models),
        *([flag] if flag else []),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    topics.delete(output, dead)
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def fill(topics: Any, partitions: int = PARTITIONS, records: int = RECORDS) -> str:
    from loadtests.streams import texts

    values, topic = texts(), topics.create(partitions)
    for partition in range(partitions):
        rows = range(partition, records, partitions)
        topics.write(
            topic, [values[n % len(values)] for n in rows], [b"%d" % (n % 5000) for n in rows], partition=partition,
            **{"queue.buffering.max.messages": 1_000_000},
        )  # fmt: skip
    return str(topic)


def measure(topics: Any, models: Path, rounds: int, report: Report) -> None:
    """`models`: the repository with T."""
    source = fill(topics)
    found: dict[tuple[str, int], list[Found]] = {}
    for _ in range(WARM_UP):
        for what, rows in ROUND:
            run(topics, models, what, source, rows)
    for number in range(rounds):
        for what, rows in (*ROUND, *((each, 1000) for each in LIMITS if not number)):
            found.setdefault((what, rows), []).append(run(topics, models, what, source, rows))
            cpu, rate = found[what, rows][-1]["cpu"], found[what, rows][-1]["rate"]
            print(f"Kafka, {what}, {rows}: {cpu:.2f} µs CPU, {rate:,.0f} records/s", file=sys.stderr)
    report.figures += [*_throughput(found), *_latency(topics, models), *_hundred(topics, models)]


def _throughput(found: dict[tuple[str, int], list[Found]]) -> Iterator[Figure]:
    def each(what: str, rows: int, name: str) -> list[float]:
        return [run[name] for run in found[what, rows]]

    def against(one: tuple[str, int], other: tuple[str, int], name: str) -> list[float]:
        return [a / b for a, b in zip(each(*one, name), each(*other, name), strict=True)]

    kafka, unit, plain = "Kafka → T → Kafka, at least once, batches of 1,000", "µs CPU a record", ("least", 1000)
    yield Figure(kafka, each(*plain, "cpu"), 8.0, most=True, unit=unit)
    yield Figure("the same, wall", each(*plain, "rate"), unit="records/s")
    name = "the same, records/s against aiokafka `send`ing the same bytes without a model"
    yield Figure(name, against(plain, ("send", 1000), "rate"), 1.2)
    yield Figure("the same by CPU", against(("send", 1000), plain, "cpu"))
    for rows, required in ((1000, 0.7), (4000, 0.85)):
        exactly, least = ("exactly", rows), ("least", rows)
        name = f"exactly once against at least once, batches of {rows:,}, records/s"
        yield Figure(name, against(exactly, least, "rate"), required)
        yield Figure("the same by CPU", against(least, exactly, "cpu"))
        yield Figure(f"exactly once, batches of {rows:,}", each(*exactly, "cpu"), unit=unit)
    for what, title in (("send", "aiokafka `send`"), ("send_batch", "aiokafka `send_batch`"),
                        ("confluent", "confluent-kafka")):  # fmt: skip
        yield Figure(f"{title}, no model", each(what, 1000, "cpu"), unit=unit)
        yield Figure(f"{title}, no model, wall", each(what, 1000, "rate"), unit="records/s")


def _latency(topics: Any, models: Path) -> Iterator[Figure]:
    for what, name in GUARANTEES.items():
        found = run(topics, models, what, topics.create(PARTITIONS), 1000, flag="--pings")
        for part in ("p50", "p99"):
            yield Figure(f"Kafka → T → Kafka, {name}, one record in flight, {part}", [found[part]], unit="ms")


def _hundred(topics: Any, models: Path) -> Iterator[Figure]:
    many = fill(topics, 100)
    for what, name in GUARANTEES.items():
        found = run(topics, models, what, many, 1000, partitions=100, flag="--hundred")
        yield Figure(f"100 partitions, {name}: connections", [found["connections"]])
        yield Figure(f"100 partitions, {name}: memory beyond the model", [found["megabytes"]], unit="MiB")


def main() -> None:
    from loadtests.models import make

    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--results")
    given = arguments.parse_args()
    report = Report("Streams: Kafka", packages=PACKAGES)
    with tempfile.TemporaryDirectory() as temporary, broker() as topics:
        folder = Path(temporary)
        make(folder)
        measure(topics, folder / "tree", given.rounds, report)
    print(report.table())
    if given.results:
        print(report.write(given.results))


if __name__ == "__main__":
    main()
