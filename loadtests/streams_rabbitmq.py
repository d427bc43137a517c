"""RabbitMQ queue → score → queue, confirmed and acknowledged, beside aio-pika that does it without a model.

T with 30 JSON numbers in and two out. Each contender is a process of its own beside the broker, on the same two cores,
and finds the same records in a durable classic queue. `bare` is the adapter without a model: what the broker can do.

`python -m loadtests.streams_rabbitmq [--rounds N] [--records N]`; SLUICE_TEST_RABBITMQ=url takes a broker of yours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import uvloop

from loadtests.report import Figure, Report
from loadtests.streams import batch, scorer, serving, texts

ROOT: Final = Path(__file__).parents[1]
ROWS: Final = 1000
#: of aio-pika, so that as many are in flight
PREFETCH: Final = 4000


class Clock:
    def __init__(self, records: int) -> None:
        self._records = records
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def tell(self) -> None:
        spent, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        print(json.dumps({"cpu": spent * 1e6 / self._records, "rate": self._records / wall}))


class Ends:
    """An input that ends after so many records."""

    def __init__(self, inner: Any, records: int) -> None:
        self._inner, self._left = inner, records

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def read(self, credit: Any) -> Any:
        if self._left <= 0:
            return None
        found = await self._inner.read(credit)
        self._left -= len(found[0])
        return found


async def sluice(given: argparse.Namespace) -> None:
    """The pipeline as a stream worker runs it."""
    from adapters import memory
    from adapters.rabbitmq import RabbitInput, RabbitOutput, RabbitSink, RabbitSource
    from gateway.core.stream import Context
    from gateway.pipeline.policy import Batching, Policy
    from gateway.pipeline.runner import Runner

    context = Context("bench")
    source = Ends(RabbitSource(RabbitInput(url=given.url, queue=given.queue), context), given.records)
    output = RabbitSink(RabbitOutput(url=given.url, routing_key=given.to), context)
    dead = memory.MemoryOutput(memory.MemorySink(topic="dead", ability="idempotent"), context)
    async with serving(Path(given.models) / "tree") as dataplane:
        policy = Policy(batching=Batching(rows=ROWS, rows_in_flight=4 * ROWS))
        runner = Runner("bench", source, output, dead, scorer(dataplane), policy)
        clock = Clock(given.records)
        await runner.run()
        clock.tell()
        assert runner.status().acknowledged == given.records, runner.status()


async def bare(given: argparse.Namespace) -> None:
    """The adapter alone: what was read is published as it is, four batches at a time."""
    from adapters.rabbitmq import RabbitInput, RabbitOutput, RabbitSink, RabbitSource
    from gateway.core.stream import Context, Credit, Rows

    source = RabbitSource(RabbitInput(url=given.url, queue=given.queue), Context("bench"))
    output = RabbitSink(RabbitOutput(url=given.url, routing_key=given.to), Context("bench"))
    await source.connect()
    await output.connect()
    clock = Clock(given.records)
    flight, left = asyncio.Semaphore(4), given.records
    last: asyncio.Task[None] | None = None

    async def one(found: Any, before: asyncio.Task[None] | None) -> None:
        await output.write(Rows(*found))
        if before is not None:
            await before
        await source.ack(found[1])
        flight.release()

    while left:
        await flight.acquire()
        found = await source.read(Credit(ROWS, 1 << 26))
        left -= len(found[0])
        last = asyncio.create_task(one(found, last))
    assert last is not None
    await last
    clock.tell()
    await source.close()
    await output.close()


async def aio_pika(given: argparse.Namespace) -> None:
    """Its own way: each message is published when it comes, and acknowledged when that is confirmed."""
    import aio_pika as client

    connection = await client.connect(given.url)
    channel = await connection.channel(publisher_confirms=True)
    await channel.set_qos(prefetch_count=PREFETCH)
    queue = await channel.get_queue(given.queue)
    done, numbers = asyncio.Event(), count(1)

    async def take(message: Any) -> None:
        answer = client.Message(message.body, delivery_mode=2, message_id=message.message_id)
        await channel.default_exchange.publish(answer, routing_key=given.to)
        await message.ack()
        if next(numbers) == given.records:
            done.set()

    clock = Clock(given.records)
    await queue.consume(take)
    await done.wait()
    clock.tell()
    await connection.close()


CONTENDERS: Final[dict[str, Callable[[argparse.Namespace], Coroutine[Any, Any, None]]]] = {
    "sluice": sluice,
    "bare": bare,
    "aio_pika": aio_pika,
}


@contextmanager
def broker() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "tests"))
    from servers.rabbitmq import Queues, RabbitMQ

    if url := os.environ.get("SLUICE_TEST_RABBITMQ"):
        yield Queues(url)
        return
    with RabbitMQ() as server:
        yield server


async def fill(url: str, queue: str, records: int) -> None:
    from adapters.rabbitmq import RabbitOutput, RabbitSink
    from gateway.core.stream import Context, Rows, Token

    output = RabbitSink(RabbitOutput(url=url, routing_key=queue), Context("bench"))
    await output.connect()
    given, left = batch(texts(), ROWS), iter(range(records // ROWS))

    async def write() -> None:
        for number in left:
            await output.write(Rows(given, Token("", 0, number)))

    await asyncio.gather(*(write() for _ in range(4)))
    await output.close()


def contend(name: str, server: Any, models: str, records: int) -> dict[str, float]:
    queue, to = server.queue(type="classic"), server.queue(type="classic")
    asyncio.run(fill(server.url, queue, records))
    done = subprocess.run(
        [
            sys.executable, "-m", "loadtests.streams_rabbitmq", "--contender", name, "--url", server.url,
            "--queue", queue, "--to", to, "--models", models, "--records", str(records),
        ],
        capture_output=True, text=True, timeout=120, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert server.depth(to) == records
    assert server.depth(queue) == 0
    server.delete(queue, to)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(models: str, rounds: int, records: int) -> Report:
    from loadtests.models import make

    make(Path(models))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with broker() as server:
        for _ in range(rounds):
            for name, runs in found.items():
                runs.append(contend(name, server, models, records))
    report = Report("RabbitMQ")
    ratios = [a["rate"] / b["rate"] for a, b in zip(found["sluice"], found["aio_pika"], strict=True)]
    report.figures.append(Figure("RabbitMQ → score → RabbitMQ, against aio-pika without a model", ratios, 1.5))
    for name, runs in found.items():
        report.figures += [
            Figure(f"{name}: records a second", [run["rate"] for run in runs], unit="records/s"),
            Figure(f"{name}: CPU of the client", [run["cpu"] for run in runs], unit="µs a record"),
        ]
    return report


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--contender", choices=[*CONTENDERS])
    arguments.add_argument("--url")
    arguments.add_argument("--queue")
    arguments.add_argument("--to")
    arguments.add_argument("--models")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--records", type=int, default=40_000)
    arguments.add_argument("--results")
    given = arguments.parse_args()
    if given.contender:
        uvloop.run(CONTENDERS[given.contender](given))
        return
    with tempfile.TemporaryDirectory() as temporary:
        report = measure(given.models or temporary, given.rounds, given.records)
    print(report.table())
    if given.results:
        print(report.write(given.results))


if __name__ == "__main__":
    main()
