"""A member of a consumer group that copies a topic, in a process of its own, which a test kills, stops and continues.

    python kafka_member.py '{"address": …, "source": …, "target": …, "pipeline": …, "exactly": true}'

It says ``running`` when it has read its first records, and ends on SIGTERM by draining.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from copying import Copying
from kafka_sides import until

from adapters.kafka.input import KafkaInput
from adapters.kafka.output import KafkaOutput
from adapters.kafka.settings import KafkaSink, KafkaSource
from gateway.core.stream import Context
from gateway.pipeline.policy import Backoff, Batching, Errors, Policy
from gateway.pipeline.runner import Runner

ROOT = Path(__file__).parents[1]


def copier(address: str, source: str, target: str, pipeline: str, *, exactly: bool, rows: int = 50) -> Runner:
    brokers = [address]
    output = KafkaOutput(
        KafkaSink(brokers=brokers, topic=target, transactions=exactly, request_timeout=10.0), Context(pipeline)
    )
    dead = KafkaOutput(KafkaSink(brokers=brokers, topic=target, transactions=False), Context(pipeline))
    settings = KafkaSource(
        brokers=brokers, topics=[source], session_timeout=1.5, revoke_timeout=0.5, request_timeout=10.0
    )
    policy = Policy(
        batching=Batching(rows=rows, rows_in_flight=rows * 8), errors=Errors(backoff=Backoff(initial=0.05, longest=0.5))
    )
    return Runner(
        pipeline, KafkaInput(settings, Context(pipeline, output if exactly else None)), output, dead, Copying(), policy
    )


@contextmanager
def member(address: str, source: str, target: str, pipeline: str, *, exactly: bool) -> Iterator[subprocess.Popen[str]]:
    given = {"address": address, "source": source, "target": target, "pipeline": pipeline, "exactly": exactly}
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    process = subprocess.Popen(
        [sys.executable, __file__, json.dumps(given)],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def running(process: subprocess.Popen[str]) -> None:
    """Waits until it has read something."""
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"


async def _main(given: dict[str, object]) -> None:
    runner = copier(**given)  # type: ignore[arg-type]
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, runner.drain, 10.0)
    task = asyncio.create_task(runner.run())
    await until(lambda: runner.status().read or task.done(), 3600)
    print("running", flush=True)
    await task


if __name__ == "__main__":
    logging.basicConfig(format="%(relativeCreated)d %(name)s %(message)s")
    asyncio.run(_main(json.loads(sys.argv[1])))
