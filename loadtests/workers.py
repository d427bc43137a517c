"""`make bench-workers`: two workers against one, how fast a change is in force in both, and what replacing them costs.

`python -m loadtests.workers [--only ratios,changes,recycles,kills] [--quick] [--results NAME]`; server and load share
both cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from loadtests.bench import TREE_SETTINGS, prepare
from loadtests.contenders import Folder, Sluice
from loadtests.load import Sample, apply
from loadtests.process import LOAD_CORE, ROOT, SERVER_CORE
from loadtests.reload import post
from loadtests.report import Figure, Report

CORES: Final = f"{SERVER_CORE},{LOAD_CORE}"
CONNECTIONS: Final = 8


def _server(folder: Folder, models: str, workers: int, **settings: Any) -> Sluice:
    # one thread for models each, or one worker would use both cores and there were nothing to compare
    own = {"workers": workers, "threads": 1, **settings}
    return Sluice(folder, folder.path / models, own, f"{workers} workers", cores=CORES)


def ratios(folder: Folder, report: Report, rounds: int, seconds: float) -> None:
    for name, models, connections, required in (
        ("T", "tree", 64, 1.4),
        ("T", "tree", 128, 1.4),
        ("M", "nets", 64, 1.6),
    ):
        settings = TREE_SETTINGS if name == "T" else {}
        samples: dict[str, list[Sample]] = {"1 worker": [], "2 workers": []}
        with _server(folder, models, 1, **settings) as one, _server(folder, models, 2, **settings) as two:
            for server in (one, two):
                apply(server, folder.request(server.infer(name), name), connections, 1, CORES)
            for number in range(rounds):
                for label, server in (("1 worker", one), ("2 workers", two)):
                    request = folder.request(server.infer(name), name)
                    samples[label].append(apply(server, request, connections, seconds, CORES))
                told = ", ".join(f"{label} {each[-1].rate:,.0f}/s" for label, each in samples.items())
                print(f"{name}, {connections} connections, round {number + 1}: {told}", file=sys.stderr)
        pairs = [*zip(samples["1 worker"], samples["2 workers"], strict=True)]
        report.figures += [
            Figure(
                f"REST, {name}, {connections} connections: two workers / one",
                [b.rate / a.rate for a, b in pairs],
                required,
            ),
            Figure("the same by CPU a request, load included", [_by_cpu(a, b) for a, b in pairs]),
        ]
        report.samples[f"{name}, {connections} connections"] = samples


def _by_cpu(one: Sample, two: Sample) -> float:
    """What two cores would have given to both, had nobody else been there: one worker has one of them at most."""
    alone = min(1 / one.cpu, 2 / (one.cpu + one.load_cpu))
    return 2 / (two.cpu + two.load_cpu) / alone


@dataclass(slots=True)
class Watch:
    stopping: bool = False
    replies: int = 0
    failed: list[str] = field(default_factory=list)


async def _ask(watch: Watch, server: Sluice, body: bytes) -> None:
    """One connection after the other, each for as long as the server keeps it."""
    place = urlsplit(server.infer("T"))
    reader = writer = None
    while not watch.stopping:
        try:
            if writer is None or reader is None:
                reader, writer = await asyncio.open_connection(place.hostname, place.port)
            status, closes = await _once(reader, writer, place.path, body)
        except (OSError, asyncio.IncompleteReadError) as error:
            watch.failed.append(repr(error))
            closes, status = True, 0
        else:
            watch.replies += 1
            if status != 200:
                watch.failed.append(str(status))
        if closes and writer is not None:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


async def _once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes) -> tuple[int, bool]:
    """The status, and whether the connection was the server's last word."""
    writer.write(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(body)) + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    await reader.readexactly(int(head.partition("content-length:")[2].partition("\r\n")[0]))
    return int(head.split()[1]), "connection: close" in head


async def _admin(server: Sluice, method: str, path: str, document: Any = None) -> Any:
    place = urlsplit(server.admin_url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    body = json.dumps(document).encode() if document is not None else b""
    lines = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer bench\r\ncontent-length: {len(body)}\r\n"
    writer.write(lines.encode() + b"connection: close\r\n\r\n" + body)
    head, _, reply = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    if head.split()[1] != b"200":
        raise RuntimeError(f"{method} {path}: {reply[:300]!r}")
    return json.loads(reply)


async def _under_load(folder: Folder, story: Callable[[Sluice, Watch], Awaitable[None]]) -> Watch:
    watch = Watch()
    body = folder.request("", "T").body.read_bytes()
    with _server(folder, "tree", 2) as server:
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(_ask(watch, server, body))
            await asyncio.sleep(1)
            await story(server, watch)
            watch.stopping = True
    return watch


def changes(folder: Folder, report: Report, count: int) -> None:
    seconds: list[float] = []
    wrong: list[str] = []

    async def story(server: Sluice, watch: Watch) -> None:
        body = folder.request("", "T").body.read_bytes()
        place = urlsplit(server.infer("T"))
        for number in range(count):
            version = "1" if number % 2 else "2"
            began = time.perf_counter()
            await _admin(server, "PUT", "/admin/v1/splits/T", {"weights": {version: 1}})
            seconds.append(time.perf_counter() - began)
            for _ in range(8):
                reader, writer = await asyncio.open_connection(place.hostname, place.port)
                _, reply = await post(reader, writer, place.path, body)
                writer.close()
                if (answered := json.loads(reply)["model_version"]) != version:
                    wrong.append(f"{answered} answered after {version} was acknowledged")

    watch = asyncio.run(_under_load(folder, story))
    report.figures += [
        Figure("a split in force in every worker, acknowledged", seconds, 0.3, most=True, unit="s"),
        Figure("its slowest of all", [max(seconds)], unit="s"),
        Figure("answers by the version before, after that", [len(wrong)], 0, most=True),
        Figure("failed requests meanwhile", [len(watch.failed)], 0, most=True),
    ]


def recycles(folder: Folder, report: Report, count: int) -> None:
    seconds: list[float] = []

    async def story(server: Sluice, watch: Watch) -> None:
        for number in range(count):
            began = time.perf_counter()
            await _admin(server, "POST", f"/admin/v1/workers/{number % 2}/recycle")
            seconds.append(time.perf_counter() - began)
            print(f"recycle {number + 1}: {watch.replies} replies, {len(watch.failed)} failed", file=sys.stderr)

    watch = asyncio.run(_under_load(folder, story))
    report.figures += [
        Figure(f"failed requests over {count} rolling recycles", [len(watch.failed)], 0, most=True),
        Figure("one recycle, until the old worker is gone", seconds, unit="s"),
        Figure("replies meanwhile", [watch.replies]),
    ]
    report.notes += watch.failed[:5]


def kills(folder: Folder, report: Report, count: int) -> None:
    seconds: list[float] = []
    failures: list[int] = []

    async def story(server: Sluice, watch: Watch) -> None:
        for number in range(count):
            slot = number % 2
            pid = await _ready(server, slot, None)
            before = len(watch.failed)
            began = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            await _ready(server, slot, pid)
            seconds.append(time.perf_counter() - began)
            await asyncio.sleep(2)
            failures.append(len(watch.failed) - before)
            print(f"kill {number + 1}: {failures[-1]} failed, replaced in {seconds[-1]:.2f} s", file=sys.stderr)

    watch = asyncio.run(_under_load(folder, story))
    report.figures += [
        Figure(f"failed requests by one SIGKILL, {CONNECTIONS} in flight", failures, CONNECTIONS, most=True),
        Figure("the most by one of them", [max(failures)], CONNECTIONS, most=True),
        Figure(f"failed requests by {count} of them", [len(watch.failed)], CONNECTIONS * count, most=True),
        Figure("until another worker answers in its place", seconds, 1.0, most=True, unit="s"),
        Figure("its slowest of all", [max(seconds)], unit="s"),
        Figure("replies meanwhile", [watch.replies]),
    ]


async def _ready(server: Sluice, slot: int, other_than: int | None) -> int:
    """The process that is ready in a slot, when there is one."""
    while True:
        with suppress(RuntimeError):
            for worker in (await _admin(server, "GET", "/admin/v1/workers"))["workers"]:
                if worker["slot"] == slot and worker["state"] == "ready" and worker["pid"] != other_than:
                    return int(worker["pid"])
        await asyncio.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.workers", description=__doc__)
    parser.add_argument("--only", help="a comma between names: ratios, changes, recycles, kills")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: a look, no evidence")
    parser.add_argument("--results", default="workers", help="name of the files in loadtests/results")
    arguments = parser.parse_args()
    folder = prepare()
    os.sched_setaffinity(0, {SERVER_CORE, LOAD_CORE})
    report = Report("Two workers", cores="both for server and load together")
    # what others do meanwhile is felt more where nothing has a core of its own
    report.notes.append(f"Load average when it began: {os.getloadavg()[0]:.1f}.")
    count = 4 if arguments.quick else 20
    scenarios: dict[str, Callable[[], None]] = {
        "ratios": lambda: ratios(folder, report, 2 if arguments.quick else 7, 2),
        "changes": lambda: changes(folder, report, count),
        "recycles": lambda: recycles(folder, report, count),
        "kills": lambda: kills(folder, report, count),
    }
    chosen = arguments.only.split(",") if arguments.only else list(scenarios)
    if unknown := [name for name in chosen if name not in scenarios]:
        parser.error(f"unknown scenario {unknown[0]!r}, there are {', '.join(scenarios)}")
    for name in chosen:
        scenarios[name]()
    path = report.write(arguments.results)
    print(report.table(), f"\nwritten to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
