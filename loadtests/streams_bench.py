"""`make bench-streams`: every figure of streams in one table, in under eight minutes on two quiet cores.

Each part runs alone, too: `loadtests.streams` (memory), `records`, `streams_sql`, `streams_kafka`, `streams_rabbitmq`.
`python -m loadtests.streams_bench [--only memory,sql,…] [--rounds N]` writes `loadtests/results/streams.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from loadtests import records, streams, streams_beside, streams_kafka, streams_rabbitmq, streams_sql, streams_stalled
from loadtests.process import ROOT
from loadtests.report import Report

PACKAGES: Final = "aiokafka confluent-kafka asyncpg SQLAlchemy aio-pika pamqp".split()  # noqa: SIM905
PARTS: Final = ("memory", "records", "sql", "kafka", "rabbitmq", "stalled", "beside")


def run(folder: Path, chosen: list[str], rounds: int, report: Report) -> None:
    begun = time.monotonic()

    def told(part: str) -> None:
        print(f"{time.monotonic() - begun:4.0f} s: {part}", file=sys.stderr, flush=True)

    if "memory" in chosen:
        told("memory")
        report.figures += asyncio.run(streams.measure(folder, [*streams.SCENARIOS], rounds)).figures
    if "records" in chosen:
        told("records")
        report.figures += records.figures(folder)
    if "sql" in chosen:
        told("sql")
        report.figures += streams_sql.report(rounds, 1000).figures
    if {"kafka", "stalled", "beside"} & set(chosen):
        with streams_kafka.broker() as topics:
            if "kafka" in chosen:
                told("kafka")
                streams_kafka.measure(topics, folder / "tree", rounds, report)
            if {"stalled", "beside"} & set(chosen):
                told("a million records")
                _behind_a_million(topics, folder, chosen, rounds, report, told)
    if "rabbitmq" in chosen:
        told("rabbitmq")
        report.figures += streams_rabbitmq.measure(str(folder), rounds, 40_000).figures
    told("done")


def _behind_a_million(topics: Any, folder: Path, chosen: list[str], rounds: int, report: Report, told: Any) -> None:
    waiting = streams_stalled.WAITING
    source = streams_kafka.fill(topics, records=waiting)
    if "beside" in chosen:
        told("beside")
        streams_beside.measure(topics, source, waiting, folder, rounds, report)
    if "stalled" in chosen:
        with streams_rabbitmq.broker() as server:
            queue = server.queue(type="classic", queue_mode="lazy")
            asyncio.run(streams_rabbitmq.fill(server.url, queue, waiting))
            told("stalled")
            systems = {"Kafka": (topics.address, source), "RabbitMQ": (server.url, queue)}
            streams_stalled.measure(systems, folder / "tree", report)


def _servers() -> str:
    """The versions of the servers that were measured, as Debian and Maven call them."""
    command = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", "postgresql-15", "rabbitmq-server"]
    debian = subprocess.run(command, capture_output=True, text=True).stdout.split("\n")
    jars = [jar.stem for jar in (ROOT / ".servers" / "kafka").rglob("kafka_2.13-*.jar")]
    return "Servers: " + ", ".join([*filter(None, debian), *jars])


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m loadtests.streams_bench", description=__doc__)
    arguments.add_argument("--only", help=f"a comma between names: {', '.join(PARTS)}")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--results", default="streams", help="name of the files in loadtests/results")
    given = arguments.parse_args()
    chosen = given.only.split(",") if given.only else list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        arguments.error(f"unknown part {min(unknown)!r}, there are {', '.join(PARTS)}")
    folder = ROOT / ".sluice" / "bench"
    subprocess.run([sys.executable, "-m", "loadtests.models", str(folder)], check=True, cwd=ROOT)
    report = Report("Streams", cores="all, for clients and servers together", packages=PACKAGES)
    report.notes.append(_servers())
    begun = time.monotonic()
    run(folder, chosen, given.rounds, report)
    path = report.write(given.results)
    print(report.table(), f"\n{time.monotonic() - begun:.0f} s; written to {path}")


if __name__ == "__main__":
    main()
