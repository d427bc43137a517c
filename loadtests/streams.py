"""`make bench-streams`: what a record of a stream costs, from the input's bytes to the acknowledgement.

memory   T with 30 JSON numbers in and two out, from a topic in memory to another, by guarantee; beside it the same
         batches decoded, scored and encoded with no pipeline round it, and the pipeline with nothing to score: what
         the pipeline and the two topics cost by themselves

CPU time is that of the whole process, all threads. `python -m loadtests.streams [--scenario memory] [--rounds N]`
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from adapters import memory
from gateway.codecs.records.columns import Field, Kind
from gateway.codecs.records.json import JsonDecoder
from gateway.codecs.records.jsonencoder import JsonEncoder
from gateway.codecs.records.mapping import Entry, Mapping, Pick
from gateway.core.stream import Batch, Context, Message
from gateway.dataplane import Dataplane
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.engine import onnx_engine
from gateway.models.manager import Manager
from gateway.models.onnx import Runtime
from gateway.models.repository import Repository
from gateway.pipeline.policy import Batching, Policy
from gateway.pipeline.runner import Runner
from gateway.pipeline.scoring.scored import Scored, Scores
from gateway.pipeline.scoring.scorer import Scorer
from gateway.routing.split import Splits
from loadtests.models import make
from loadtests.records import features
from loadtests.report import Figure, Report

RECORDS: Final = 200_000
ROWS: Final = 1000
ONE_BY_ONE: Final = 2000


@asynccontextmanager
async def serving(models: Path) -> AsyncIterator[Dataplane]:
    """As a stream worker has it: models, no listeners."""
    with ThreadPoolExecutor(8) as pool:
        manager = Manager(Repository(models), onnx_engine(Runtime(1), pool, BatchPolicy()))
        await manager.reconcile()
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)  # as gateway/app/engine.py
        try:
            yield Dataplane(manager, Splits())
        finally:
            await manager.close()


def texts() -> list[bytes]:
    names, rows = features()
    return [orjson.dumps({"id": i, **dict(zip(names, row, strict=True))}) for i, row in enumerate(rows.tolist())]


def scorer(dataplane: Dataplane) -> Scorer:
    _, signature = dataplane.resolve("T", "", "")
    names, _ = features()
    mapping = Mapping([Entry("X", tuple(Pick(name) for name in names))])
    decoder = JsonDecoder((*mapping.fields(signature), Field("id", Kind.INTEGER)))
    encoder = JsonEncoder({"id": "id", "label": "output_label", "score": "output_probability[1]"})
    return Scorer(dataplane, "T", "", decoder, mapping, encoder, signature=signature)


def batch(values: Sequence[bytes], rows: int) -> Batch:
    return Batch([f"in/0/{n}" for n in range(rows)], [values[n % len(values)] for n in range(rows)])


async def alone(dataplane: Dataplane, values: Sequence[bytes], rows: int) -> float:
    """CPU µs a record of the scorer, with nothing round it."""
    score, given = scorer(dataplane), batch(values, rows)
    await score.score(given)
    begin = time.process_time_ns()
    for _ in range(RECORDS // rows):
        await score.score(given)
    return (time.process_time_ns() - begin) / 1e3 / RECORDS


class Echo:
    """Gives each record back."""

    answers = "echo"

    async def score(self, batch: Batch) -> Scored:
        return Scored(batch, range(len(batch)))


async def through(values: Sequence[bytes], rows: int, ability: Any, score: Scores) -> tuple[float, float]:
    """CPU µs a record through the whole pipeline, and records a second."""
    for name in ("in", "out", "dead"):
        memory.forget(name)
    memory.topic("in").append(batch(values, RECORDS))
    output = memory.MemoryOutput(memory.MemorySink(topic="out", ability=ability), Context("bench"))
    positions = output if ability == "stores_offsets" else None
    source = memory.MemoryInput(memory.MemorySource(topic="in", ends=True), Context("bench", positions))
    dead = memory.MemoryOutput(memory.MemorySink(topic="dead", ability="idempotent"), Context("bench"))
    policy = Policy(batching=Batching(rows=rows, rows_in_flight=10 * rows))
    runner = Runner("bench", source, output, dead, score, policy)
    gc.collect()
    gc.freeze()
    begin, wall = time.process_time_ns(), time.perf_counter()
    await runner.run()
    spent, wall = time.process_time_ns() - begin, time.perf_counter() - wall
    assert len(memory.topic("out")) == RECORDS, runner.status()
    return spent / 1e3 / RECORDS, RECORDS / wall


async def latency(dataplane: Dataplane, values: Sequence[bytes], ability: Any) -> list[float]:
    """Milliseconds from putting a record into one topic to its result in the other, one record at a time."""
    for name in ("in", "out", "dead"):
        memory.forget(name)
    output = memory.MemoryOutput(memory.MemorySink(topic="out", ability=ability), Context("bench"))
    positions = output if ability == "stores_offsets" else None
    source = memory.MemoryInput(memory.MemorySource(topic="in"), Context("bench", positions))
    dead = memory.MemoryOutput(memory.MemorySink(topic="dead", ability="idempotent"), Context("bench"))
    runner = Runner("bench", source, output, dead, scorer(dataplane), Policy())
    running = asyncio.ensure_future(runner.run())
    done = asyncio.Event()
    memory.topic("out").listeners.add(done)
    times = []
    for n in range(ONE_BY_ONE):
        done.clear()
        begin = time.perf_counter()
        memory.topic("in").put([Message(f"in/0/{n}", values[n % len(values)])])
        await done.wait()
        times.append((time.perf_counter() - begin) * 1e3)
    runner.drain()
    await running
    return sorted(times)


async def in_memory(dataplane: Dataplane, rounds: int, report: Report) -> None:
    values = texts()
    costs: dict[str, list[float]] = {}
    rates: list[float] = []
    middle: list[float] = []
    slow: list[float] = []
    for _ in range(rounds):
        costs.setdefault("alone", []).append(await alone(dataplane, values, ROWS))
        for ability in ("plain", "idempotent", "stores_offsets"):
            cost, rate = await through(values, ROWS, ability, scorer(dataplane))
            costs.setdefault(ability, []).append(cost)
            if ability == "plain":
                rates.append(rate)
        for rows in (ROWS, 100):
            costs.setdefault(f"own {rows}", []).append((await through(values, rows, "plain", Echo()))[0])
        times = await latency(dataplane, values, "plain")
        middle.append(times[len(times) // 2])
        slow.append(times[len(times) * 99 // 100])
    unit = "µs CPU a record"
    report.figures += [
        Figure("decode, score, encode alone, batches of 1,000", costs["alone"], 6.0, most=True, unit=unit),
        Figure("memory → memory, at least once", costs["plain"], unit=unit),
        Figure("memory → memory, by record id", costs["idempotent"], unit=unit),
        Figure("memory → memory, positions stored with the results", costs["stores_offsets"], unit=unit),
        Figure("the pipeline and both topics, nothing scored, batches of 1,000", costs["own 1000"], unit=unit),
        Figure("the same, batches of 100", costs["own 100"], unit=unit),
        Figure("memory → memory, at least once, wall", rates, unit="records/s"),
        Figure("memory → memory, one record at a time, p50", middle, unit="ms"),
        Figure("memory → memory, one record at a time, p99", slow, unit="ms"),
    ]


SCENARIOS: Final[dict[str, Callable[..., Any]]] = {"memory": in_memory}


async def measure(folder: Path, scenarios: Sequence[str], rounds: int) -> Report:
    make(folder)
    report = Report("Streams")
    async with serving(folder / "tree") as dataplane:
        for name in scenarios:
            await SCENARIOS[name](dataplane, rounds, report)
    return report


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--scenario", action="append", choices=[*SCENARIOS])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--models", type=Path)
    arguments.add_argument("--results")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.models or Path(temporary)
        report = asyncio.run(measure(folder, given.scenario or [*SCENARIOS], given.rounds))
    print(report.table())
    if given.results:
        print(report.write(given.results))


if __name__ == "__main__":
    main()
