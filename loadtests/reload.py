"""`make bench-reload`: reloads of a 67 MB model while it is asked for predictions.

Every reload brings a file that answers differently: its number is in the answer. So each reply tells which load
made it, and may be no older than the last load that had been acknowledged when its request was sent.

`python -m loadtests.reload [--reloads 500] [--results NAME]`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from loadtests.bench import prepare
from loadtests.contenders import Sluice
from loadtests.process import ROOT
from loadtests.report import Figure, Report

CONNECTIONS = 8
#: reloads after which the memory has settled
SETTLED = 20
SETTINGS = {"control_mode": "explicit", "load": ["M"], "restricted": {"repository": "open"}}


class Files:
    """The model's file and a spare one, told apart by the bias of their last layer."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.live = folder / "M" / "1" / "model.onnx"
        self._spare = folder.with_name("spare.onnx")
        self.live.parent.mkdir(parents=True, exist_ok=True)
        content = source.read_bytes()
        for path in (self.live, self._spare):
            path.write_bytes(content)
        self._offset = _bias_offset(content)

    def bring(self, number: int) -> None:
        """Puts a file in place whose answers are `number` larger than the first one's."""
        with self._spare.open("r+b") as file:
            file.seek(self._offset)
            file.write(struct.pack("<2f", number, number))
        aside = self._spare.with_suffix(".aside")
        self.live.rename(aside)
        self._spare.rename(self.live)
        aside.rename(self._spare)


@dataclass(slots=True)
class Watch:
    """What the replies were. `begun` and `done` are the numbers of the newest load begun and acknowledged."""

    base: float = 0.0
    begun: int = 0
    done: int = 0
    stopping: bool = False
    replies: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


async def ask(watch: Watch, url: str, body: bytes) -> None:
    """One connection, one request after the other."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    while not watch.stopping:
        oldest, began = watch.done, time.perf_counter()
        watch.replies += 1
        try:
            status, reply = await post(reader, writer, place.path, body)
        except (OSError, asyncio.IncompleteReadError) as error:
            watch.failed.append(repr(error))
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            continue
        watch.seconds.append(time.perf_counter() - began)
        if status != 200:
            watch.failed.append(f"{status} {reply[:200]!r}")
            continue
        answered = json.loads(reply)["outputs"][0]["data"][0] - watch.base
        if not oldest - 0.5 < answered < watch.begun + 0.5:
            watch.wrong.append(f"load {answered:.1f} answered, {oldest} had been acknowledged")
    writer.close()
    await writer.wait_closed()


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes) -> tuple[int, bytes]:
    writer.write(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(body)) + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = head.partition("content-length:")[2].partition("\r\n")[0]
    return int(head.split()[1]), await reader.readexactly(int(length or 0))


async def reload(watch: Watch, files: Files, server: Sluice, count: int) -> tuple[list[float], dict[int, float]]:
    """Returns the seconds that each load took, and the PSS in MB after every `SETTLED` of them."""
    place = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    seconds, memory = [], {}
    for number in range(1, count + 1):
        files.bring(number)
        watch.begun = number
        began = time.perf_counter()
        status, reply = await post(reader, writer, "/v2/repository/models/M/load", b"{}")
        if status != 200:
            raise RuntimeError(f"load {number}: {status} {reply[:500]!r}")
        watch.done = number
        seconds.append(time.perf_counter() - began)
        if number % SETTLED == 0 or number == count:
            memory[number] = server.memory()[0]
            told = f"load {number}: {watch.replies} replies, {len(watch.failed)} failed, {len(watch.wrong)} wrong"
            print(f"{told}, {memory[number]:.0f} MB", file=sys.stderr)
    writer.close()
    await writer.wait_closed()
    return seconds, memory


async def story(files: Files, server: Sluice, body: bytes, count: int) -> Report:
    watch = Watch()
    place = urlsplit(server.infer("M"))
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    _, reply = await post(reader, writer, place.path, body)
    watch.base = json.loads(reply)["outputs"][0]["data"][0]
    writer.close()
    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(ask(watch, server.infer("M"), body))
        seconds, memory = await reload(watch, files, server, count)
        watch.stopping = True
    return _report(watch, seconds, memory)


def _report(watch: Watch, seconds: list[float], memory: dict[int, float]) -> Report:
    report = Report(f"{len(seconds)} reloads of a 67 MB model under load")
    settled = memory.get(SETTLED, 0.0) or next(iter(memory.values()))
    last = memory[max(memory)]
    latencies = sorted(watch.seconds)
    report.figures = [
        Figure("failed requests", [len(watch.failed)], 0, most=True),
        Figure("replies by a version that had been replaced", [len(watch.wrong)], 0, most=True),
        Figure(f"memory at the end / after {SETTLED} reloads", [last / settled], 1.15, most=True),
        Figure(f"memory after {SETTLED} reloads, PSS", [settled], unit="MB"),
        Figure("memory at the end, PSS", [last], unit="MB"),
        Figure("one load, its file read, warmed and published", seconds, unit="s"),
        Figure("replies", [watch.replies]),
        Figure("latency meanwhile, p50", [latencies[len(latencies) // 2] * 1e3], unit="ms"),
        Figure("latency meanwhile, p99", [latencies[len(latencies) * 99 // 100] * 1e3], unit="ms"),
    ]
    report.notes += [*watch.failed[:5], *watch.wrong[:5]]
    return report


def _bias_offset(content: bytes) -> int:
    """Where the two floats of the initializer ``b5`` are: in TensorProto, `name` (8) comes before `raw_data` (9)."""
    marker = b"\x42\x02b5\x4a\x08"
    assert content.count(marker) == 1
    return content.index(marker) + len(marker)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.reload", description=__doc__)
    parser.add_argument("--reloads", type=int, default=500)
    parser.add_argument("--results", default="reload", help="name of the files in loadtests/results")
    arguments = parser.parse_args()
    folder = prepare()
    repository = folder.scratch / "reload"
    files = Files(folder.model("M"), repository)
    body = folder.request("", "M").body.read_bytes()
    with Sluice(folder, repository, SETTINGS) as server:
        report = asyncio.run(story(files, server, body, arguments.reloads))
    path = report.write(arguments.results)
    print(report.table(), f"\nwritten to {path.relative_to(ROOT)}")
    if any(figure.verdict not in ("", "ok") for figure in report.figures):
        sys.exit(1)


if __name__ == "__main__":
    main()
