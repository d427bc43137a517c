"""Memory of a stream worker behind which a million messages wait, while its output is slow, and then takes nothing.

The worker has T, the default credits, and an output in its own process, which takes a batch in 50 ms for 15 seconds,
and then never returns from a write. What it alone holds (USS) is looked at four times a second for 25 seconds: it must
not grow beyond what it was in the first ten. Used by `loadtests.streams_bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psutil
import uvloop

from gateway.core.stream import Context, DeadLetter, Rows, Sink
from loadtests.process import ROOT
from loadtests.report import Figure, Report

WAITING: Final = 1_000_000
#: seconds
WARM, SLOW, ALL = 10.0, 15.0, 25.0


class Stalled:
    """An output that is slow, and then takes nothing any more."""

    sink = Sink("nowhere")

    def __init__(self) -> None:
        self.begun: float | None = None

    async def connect(self) -> None:
        return

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        self.begun = self.begun or time.monotonic()
        if time.monotonic() - self.begun > SLOW:
            await asyncio.Event().wait()
        await asyncio.sleep(0.05)

    async def close(self) -> None:
        return


def opened(given: argparse.Namespace) -> Any:
    context = Context(f"stalled-{os.getpid()}")
    if given.system == "Kafka":
        from adapters.kafka.input import KafkaInput
        from adapters.kafka.settings import KafkaSource

        return KafkaInput(KafkaSource(brokers=[given.address], topics=[given.source]), context)
    from adapters.rabbitmq import RabbitInput, RabbitSource

    return RabbitSource(RabbitInput(url=given.address, queue=given.source), context)


async def work(given: argparse.Namespace) -> None:
    from adapters import memory
    from gateway.pipeline.policy import Policy
    from gateway.pipeline.runner import Runner
    from loadtests.streams import scorer, serving

    output = Stalled()
    dead = memory.MemoryOutput(memory.MemorySink(topic="dead", ability="idempotent"), Context("stalled"))
    async with serving(given.models) as dataplane:
        gc.collect()
        process = psutil.Process()
        before = process.memory_full_info().uss
        runner = Runner("stalled", opened(given), output, dead, scorer(dataplane), Policy())
        running = asyncio.create_task(runner.run())
        seen: list[tuple[float, float]] = []
        while not seen or seen[-1][0] < ALL:
            await asyncio.sleep(0.25)
            if output.begun is not None:
                seen.append((time.monotonic() - output.begun, process.memory_full_info().uss / 1e6))
        status = runner.status()
        assert status.dead == 0, status
        assert not running.done()
        after = max(size for at, size in seen if at > WARM)
        warm = max(size for at, size in seen if at <= WARM)
        print(json.dumps({"warm": warm, "most": after, "beyond": after - before / 1e6, "read": status.read}))
        sys.stdout.flush()
        os._exit(0)  # its write never returns


def measure(systems: dict[str, tuple[str, str]], models: Path, report: Report) -> None:
    """`systems`: Kafka and RabbitMQ, the address and where the messages wait. Both at once: they do nothing."""
    running = {
        system: subprocess.Popen(
            [sys.executable, "-m", "loadtests.streams_stalled", "--system", system, "--address", address,
             "--source", source, "--models", str(models)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for system, (address, source) in systems.items()
    }  # fmt: skip
    for system, process in running.items():
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        found = json.loads(output.splitlines()[-1])
        name = f"{system}, 1 M messages wait, output slow, then stalled: memory after 10 s against before"
        report.figures += [
            Figure(name, [found["most"] / found["warm"]], 1.1, most=True),
            Figure("the greatest, its own (USS), beyond the models", [found["beyond"]], unit="MB"),
            Figure("records taken of the million", [found["read"]]),
        ]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--system", choices=["Kafka", "RabbitMQ"])
    arguments.add_argument("--address")
    arguments.add_argument("--source")
    arguments.add_argument("--models", type=Path)
    uvloop.run(work(arguments.parse_args()))


if __name__ == "__main__":
    main()
