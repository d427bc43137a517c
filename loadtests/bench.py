"""`make bench`: Sluice beside the limits, on one core, interleaved; the load comes from another core.

`python -m loadtests.bench [--only T64,M] [--quick] [--results NAME]` writes results/NAME.md and NAME.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from loadtests.contenders import Fixed, Folder, Limit, Runtime, Sluice, check
from loadtests.load import Request, Sample, apply
from loadtests.process import LOAD_CORE, ROOT, Process
from loadtests.report import Figure, Report

TREE_SETTINGS = {"splits": {"T": {"weights": {"1": 50, "2": 50}}}}
BATCHES = (1, 2, 4, 8, 16, 32, 64)
#: two measurements of the same thing differ by so much on a quiet machine
NOISE = 0.03

Contenders = Mapping[str, tuple[Process, Request]]


class Bench:
    """The scenarios. Each adds its figures to the report."""

    def __init__(self, folder: Folder, report: Report, *, rounds: int, seconds: int) -> None:
        self.folder = folder
        self.report = report
        self.rounds = rounds
        self.seconds = seconds

    def footprint(self) -> None:
        """A worker with T loaded and a split on: first of all, while few other processes are about."""
        startups, quiet, loaded, idle, threads = [], [], [], [], []
        for last in (False, False, True):
            with self._tree_server() as server:
                startups.append(server.startup)
                request = self.folder.request(server.infer("T"), "T")
                request.send()
                quiet.append(server.memory()[0])
                if last:
                    apply(server, request, 64, 2)
                    loaded.append(server.memory()[0])
                    threads.append(server.threads())
                    time.sleep(0.5)
                    idle.append(_idle(server, 5))
        self.report.figures += [
            Figure("ready after start (T, two versions)", startups, 1.0, most=True, unit="s"),
            Figure("memory of the worker with T loaded, PSS", quiet, 90, most=True, unit="MB"),
            Figure("the same after load on 64 connections", loaded, 90, most=True, unit="MB"),
            Figure("CPU while idle, over 5 s", idle, 0.5, most=True, unit="%"),
            Figure("threads", threads),
        ]

    def tree(self, connections: int) -> None:
        """T: the model takes microseconds, so that all of it is the server."""
        with ExitStack() as stack:
            runtime, server = (
                stack.enter_context(Runtime(self.folder)),
                stack.enter_context(self._tree_server()),
            )
            request = self.folder.request(server.infer("T"), "T")
            reply = check("Sluice", request, runtime.answer("T", request))
            raw = stack.enter_context(Fixed(self.folder, "uvicorn raw ASGI", "raw_asgi.py", reply))
            fixed = [raw]
            if connections > 1:
                fixed.append(stack.enter_context(Fixed(self.folder, "httptools alone", "echo.py", reply)))
            contenders: dict[str, tuple[Process, Request]] = {server.name: (server, request)}
            for each in fixed:
                contenders[each.name] = each, Request(each.url + "/v2/models/T/infer", request.body)
                assert contenders[each.name][1].send() == (200, reply)
            samples = self.interleave(f"T, {connections} connections", contenders, connections)
        self._beside(
            f"REST JSON, T, {connections} connections / uvicorn raw ASGI",
            samples["Sluice"],
            samples["uvicorn raw ASGI"],
            0.85 if connections > 1 else 0.75,
        )

    def mlp(self) -> None:
        """M: batching is worth much."""
        with Runtime(self.folder) as runtime, self._nets_server() as server:
            request = self.folder.request(server.infer("M"), "M")
            check("Sluice", request, runtime.answer("M", request))
            best: list[Limit] = []

            def limit() -> None:
                best.append(max(runtime.rate("M", rows, self.seconds / 8) for rows in BATCHES))

            ours = self.interleave("M, 64 connections", {"Sluice": (server, request)}, 64, limit)["Sluice"]
        self._beside("REST, M, 64 connections / onnxruntime's best rows/s", ours, best, 0.8)
        ratios = [a.p99 / a.p50 for a in ours]
        self.report.figures.append(Figure("REST, M, 64 connections: p99 / p50", ratios, 1.5, most=True))

    def convnet(self) -> None:
        """C: batching is worth nothing, and must not cost anything."""
        with Runtime(self.folder) as runtime, self._nets_server() as server:
            contenders = {}
            for name, model in (("Sluice", "C"), ("Sluice, batching off", "C_unbatched")):
                # as images travel; the same tensor is in the text, for the runtime's own answer
                request = self.folder.request(server.infer(model), model, binary=True)
                check(name, request, runtime.answer("C", self.folder.request("", "C")))
                contenders[name] = (server, request)
            alone: list[Limit] = []
            samples = self.interleave(
                "C, 64 connections", contenders, 64, lambda: alone.append(runtime.rate("C", 1, self.seconds / 2))
            )
        ours, off = samples["Sluice"], samples["Sluice, batching off"]
        self._beside("REST, C, 64 connections / onnxruntime alone", ours, alone, 0.9)
        ratios = [a.p50 / b.p50 for a, b in zip(ours, off, strict=True)]
        name = "REST, C: p50 / p50 with batching off (3 % noise allowed)"
        self.report.figures.append(Figure(name, ratios, 1.0 + NOISE, most=True))

    def image(self) -> None:
        """I: the request is large."""
        with Runtime(self.folder) as runtime, self._nets_server() as server:
            text = self.folder.request(server.infer("I"), "I")
            binary = self.folder.request(server.infer("I"), "I", binary=True)
            expected = runtime.answer("I", text)
            check("Sluice, JSON", text, expected)
            check("Sluice, binary", binary, expected)
            alone: list[Limit] = []
            whole: list[Limit] = []
            decoding: dict[str, list[Limit]] = {"sluice": [], "limit": []}

            def limits() -> None:
                alone.append(runtime.rate("I", 1, self.seconds / 2))
                whole.append(runtime.decoding_rate("I", text, self.seconds / 2))
                for by, rates in decoding.items():
                    rates.append(runtime.decode_rate("I", text, self.seconds / 4, by))

            contenders = {"Sluice, binary": (server, binary), "Sluice, JSON": (server, text)}
            samples = self.interleave("I, 8 connections", contenders, 8, limits)
            memory = server.memory()[0]
        self._beside("REST, I, binary / onnxruntime alone", samples["Sluice, binary"], alone, 0.9)
        ratios = [a.rate / b.rate for a, b in zip(decoding["sluice"], decoding["limit"], strict=True)]
        self.report.figures.append(Figure("REST, I, JSON: decoding / msgspec and numpy alone", ratios, 0.9))
        name = "REST, I, JSON, the whole request / msgspec, numpy and onnxruntime in one loop"
        self._beside(name, samples["Sluice, JSON"], whole, None)
        self.report.figures.append(Figure("memory after that, M and C loaded too, PSS", [memory], unit="MB"))

    def _beside(
        self, name: str, ours: Sequence[Sample], theirs: Sequence[Sample | Limit], required: float | None
    ) -> None:
        """Two ratios: of the rates, which is what counts, and of the CPU, which a busy machine disturbs less."""
        rates = [a.rate / b.rate for a, b in zip(ours, theirs, strict=True)]
        costs = [b.cpu / a.cpu for a, b in zip(ours, theirs, strict=True)]
        self.report.figures += [Figure(name, rates, required), Figure("the same by CPU a request", costs)]
        told = ", ".join(f"{each.rate:,.0f}" for each in theirs if isinstance(each, Limit))
        if told:
            self.report.notes.append(f"{name.partition(' / ')[2]}, a second: {told}")

    def interleave(
        self,
        scenario: str,
        contenders: Contenders,
        connections: int,
        limit: Callable[[], None] | None = None,
    ) -> dict[str, list[Sample]]:
        """A B C, A B C, …: what the machine does meanwhile meets all of them alike."""
        samples: dict[str, list[Sample]] = {name: [] for name in contenders}
        for server, request in contenders.values():
            apply(server, request, connections, 1)
        # two servers that take microseconds differ more from round to round than long runs do
        for number in range(self.rounds if limit is None else self.rounds // 2 + 1):
            if limit:
                limit()
            for name, (server, request) in contenders.items():
                samples[name].append(apply(server, request, connections, self.seconds))
            told = ", ".join(f"{name} {s[-1].rate:,.0f}/s" for name, s in samples.items())
            print(f"{scenario}, round {number + 1}: {told}", file=sys.stderr)
        self.report.samples[scenario] = samples
        return samples

    def _tree_server(self) -> Sluice:
        return Sluice(self.folder, self.folder.path / "tree", TREE_SETTINGS)

    def _nets_server(self) -> Sluice:
        return Sluice(self.folder, self.folder.path / "nets")


def prepare() -> Folder:
    """Makes the models, and takes this process to the core that the load comes from."""
    if (os.cpu_count() or 1) < 2:
        sys.exit("error: two cores are needed, one for the server and one for the load")
    folder = ROOT / ".sluice" / "bench"
    # in a process of its own: what this one maps would make the servers' PSS look smaller
    subprocess.run([sys.executable, "-m", "loadtests.models", str(folder)], check=True, cwd=ROOT)
    os.sched_setaffinity(0, {LOAD_CORE})
    return Folder(folder)


def _idle(server: Process, seconds: float) -> float:
    """Per cent of one core."""
    before = server.cpu()
    time.sleep(seconds)
    return (server.cpu() - before) / seconds * 100


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    parser.add_argument("--only", help="a comma between names: footprint, T64, T1, M, C, I")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: a look, no evidence")
    parser.add_argument("--results", default="bench", help="name of the files in loadtests/results")
    arguments = parser.parse_args()
    folder = prepare()
    report = Report("Sluice and the limits")
    rounds, seconds = (2, 1) if arguments.quick else (5, 2)
    bench = Bench(folder, report, rounds=rounds, seconds=seconds)
    scenarios: dict[str, Callable[[], None]] = {
        "footprint": bench.footprint,
        "T64": lambda: bench.tree(64),
        "T1": lambda: bench.tree(1),
        "M": bench.mlp,
        "C": bench.convnet,
        "I": bench.image,
    }
    chosen = arguments.only.split(",") if arguments.only else list(scenarios)
    unknown = [name for name in chosen if name not in scenarios]
    if unknown:
        parser.error(f"unknown scenario {unknown[0]!r}, there are {', '.join(scenarios)}")
    began = time.monotonic()
    for name in chosen:
        scenarios[name]()
    path: Path = report.write(arguments.results)
    print(report.table(), f"\n{time.monotonic() - began:.0f} s; written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
