"""What was measured, as a table for people and as JSON, with what it was measured on."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from loadtests.load import Sample
from loadtests.process import ROOT

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "onnxruntime numpy grpcio uvicorn uvloop httptools starlette msgspec orjson fastapi pydantic mlserver".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `values` are those of each round; their median is held against `required`.

    required   the bound, None where there is none; a figure below it is missed, above it where `most`
    """

    name: str
    values: Sequence[float]
    required: float | None = None
    most: bool = False
    unit: str = ""

    @property
    def measured(self) -> float:
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        if self.required is None:
            return ""
        good = self.measured <= self.required if self.most else self.measured >= self.required
        return "ok" if good else "**missed**"

    def row(self) -> list[str]:
        bound = "" if self.required is None else f"{'≤' if self.most else '≥'} {_number(self.required)}"
        spread = f"{_number(min(self.values))} … {_number(max(self.values))}" if len(self.values) > 1 else ""
        unit = f" {self.unit}" if self.unit else ""
        return [
            self.name,
            bound + (unit if bound else ""),
            _number(self.measured) + unit,
            spread,
            self.verdict,
        ]


@dataclass(slots=True)
class Report:
    """Figures, and the samples that they were made of by scenario and contender."""

    title: str
    cores: str = "one for the server, another for the load"
    figures: list[Figure] = field(default_factory=list)
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    #: whose versions matter besides those that all reports name
    packages: Sequence[str] = ()

    def table(self) -> str:
        header = ["figure", "required", "measured (median)", "spread", ""]
        return _table(header, (figure.row() for figure in self.figures))

    def details(self) -> str:
        header = ["scenario", "contender", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "rounds"]
        return _table(header, (self._detail(s, c, r) for s, m in self.samples.items() for c, r in m.items()))

    def write(self, name: str) -> Path:
        """Both files, into ``loadtests/results``; returns the one for people."""
        machine = _machine(self.cores, self.packages)
        lines = [f"# {self.title}", "", *(f"{k}: {v}  " for k, v in machine.items()), "", self.table(), ""]
        lines += ["Ratios are of neighbouring runs in one round; the spread is over the rounds.", ""]
        lines += [f"{note}\n" for note in self.notes]
        lines += [self.details(), ""] if self.samples else []
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name}.md"
        path.write_text("\n".join(lines))
        document: dict[str, Any] = {
            "machine": machine,
            "figures": [{**asdict(f), "measured": f.measured, "verdict": f.verdict} for f in self.figures],
            "samples": {s: {c: [asdict(r) for r in rs] for c, rs in m.items()} for s, m in self.samples.items()},
            "notes": self.notes,
        }
        path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
        return path

    @staticmethod
    def _detail(scenario: str, contender: str, samples: list[Sample]) -> list[str]:
        medians = (statistics.median(getattr(s, name) for s in samples) for name in ("rate", "p50", "p99", "cpu"))
        return [scenario, contender, *map(_number, medians), str(len(samples))]


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machine(cores: str, packages: Sequence[str]) -> dict[str, str]:
    cpus = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in cpus.splitlines() if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": _output("git", "-C", str(ROOT), "describe", "--always", "--dirty") or "unknown",
        "CPU": f"{models[0] if models else platform.machine()}, {len(models)} cores",
        "cores used": cores,
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
        "load": _output("wrk", "--version").splitlines()[0].partition(" Copyright")[0],
        "packages": ", ".join(f"{name} {version}" for name, version in _versions(packages)),
        "command": " ".join(["python", "-m", f"loadtests.{Path(sys.argv[0]).stem}", *sys.argv[1:]]),
    }


def _versions(more: Sequence[str]) -> Iterable[tuple[str, str]]:
    for name in (*_PACKAGES, *more):
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _output(*command: str) -> str:
    # `wrk --version` ends with 1
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()
