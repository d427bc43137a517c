"""What REST feels of a stream at full speed: the server and its load on one core, stream and broker on the other.

T by JSON, 8 connections; Kafka → T → Kafka, at least once, batches of 1,000. Used by `loadtests.streams_bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import uvloop

from gateway.core.stream import Context
from loadtests.contenders import Folder, Sluice
from loadtests.load import Sample, apply
from loadtests.process import LOAD_CORE, SERVER_CORE, Process
from loadtests.report import Figure, Report

CONNECTIONS: Final = 8
SECONDS: Final = 4.0


async def work(given: argparse.Namespace) -> None:
    """Answers each line with how many records are acknowledged, the first when there are some."""
    from adapters.kafka.input import KafkaInput
    from adapters.kafka.output import KafkaOutput
    from adapters.kafka.settings import KafkaSink, KafkaSource
    from gateway.pipeline.policy import Batching, Policy
    from gateway.pipeline.runner import Runner
    from loadtests.streams import scorer, serving

    brokers, context = [given.broker], Context(given.output)
    source = KafkaInput(KafkaSource(brokers=brokers, topics=[given.source]), context)
    output = KafkaOutput(KafkaSink(brokers=brokers, topic=given.output, transactions=False), context)
    async with serving(given.models) as dataplane:
        policy = Policy(batching=Batching(rows=1000))
        runner = Runner(given.output, source, output, output, scorer(dataplane), policy)
        running = asyncio.create_task(runner.run())
        while await asyncio.to_thread(sys.stdin.readline):
            while not runner.status().acknowledged:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
            print(runner.status().acknowledged, flush=True)
        runner.drain(5)
        await running


def measure(topics: Any, source: str, records: int, folder: Path, rounds: int, report: Report) -> None:
    """`source`: a topic with so many records, more than the stream has time for."""
    made = Folder(folder)
    alone: list[Sample] = []
    beside: list[Sample] = []
    rates: list[float] = []
    if topics.own:
        _pin(topics.process.pid, str(LOAD_CORE))
    with Sluice(made, folder / "tree") as server:
        request = made.request(server.infer("T"), "T")
        apply(server, request, CONNECTIONS, 2, str(SERVER_CORE))
        for _ in range(rounds):
            alone.append(apply(server, request, CONNECTIONS, SECONDS, str(SERVER_CORE)))
            output = topics.create(4)
            command = [sys.executable, "-m", "loadtests.streams_beside", "--broker", topics.address]
            command += ["--source", source, "--output", output, "--models", str(folder / "tree")]
            with Process("stream", command, pipes=True, cores=str(LOAD_CORE)) as stream:
                before, begun = int(stream.ask("?")), time.perf_counter()
                beside.append(apply(server, request, CONNECTIONS, SECONDS, str(SERVER_CORE)))
                after = int(stream.ask("?"))
                rates.append((after - before) / (time.perf_counter() - begun))
                assert after < records, "the stream has ended before the load"
            topics.delete(output)
            told = {"alone": alone[-1].p99, "beside": beside[-1].p99, "records/s": rates[-1]}
            print(f"REST beside a stream: {json.dumps(told)}", file=sys.stderr)
    if topics.own:
        _pin(topics.process.pid, ",".join(map(str, os.sched_getaffinity(0))))
    ratios = [a.p99 / b.p99 for a, b in zip(beside, alone, strict=True)]
    report.figures += [
        Figure("p99 of REST T while a stream runs at full speed on the other core, against without", ratios, 1.5,
               most=True),
        Figure("that p99 without", [sample.p99 for sample in alone], unit="ms"),
        Figure("that p99 beside the stream", [sample.p99 for sample in beside], unit="ms"),
        Figure("requests/s beside the stream", [sample.rate for sample in beside]),
        Figure("records/s of the stream, its broker on the same core", rates),
    ]  # fmt: skip


def _pin(pid: int, cores: str) -> None:
    subprocess.run(["taskset", "-a", "-cp", cores, str(pid)], check=True, capture_output=True)


def main() -> None:
    arguments = argparse.ArgumentParser()
    for name in ("--broker", "--source", "--output"):
        arguments.add_argument(name)
    arguments.add_argument("--models", type=Path)
    uvloop.run(work(arguments.parse_args()))


if __name__ == "__main__":
    main()
