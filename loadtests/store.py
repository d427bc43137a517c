"""How fast a change reaches another gateway on the same PostgreSQL, and what sharing one costs.

`python -m loadtests.store --store postgresql://user@host/database [--changes 100] [--results NAME]`; the database is
best an empty one: the splits of a model T are changed in it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

from loadtests.bench import prepare
from loadtests.contenders import Folder, Sluice
from loadtests.process import ROOT
from loadtests.report import Figure, Report


class Admin:
    """One connection to a gateway's admin port."""

    def __init__(self, server: Sluice) -> None:
        place = urlsplit(server.admin_url)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)

    def call(self, method: str, path: str, document: Any = None) -> Any:
        body = None if document is None else json.dumps(document)
        self._connection.request(method, f"/admin/v1{path}", body, {"Authorization": "Bearer bench"})
        reply = self._connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{method} {path}: {reply.status} {text[:300]!r}")
        return json.loads(text)

    def set(self, weight: int, wait: str = "") -> int:
        return int(self.call("PUT", f"/splits/T{wait}", {"weights": {"1": weight}})["revision"])

    def revision(self) -> int:
        return int(self.call("GET", "/splits")["revision"])


def changes(here: Admin, there: Admin, count: int) -> dict[str, list[float]]:
    """Milliseconds by what was measured, of each change."""
    took: dict[str, list[float]] = {"answered": [], "in force": [], "acknowledged": []}
    for number in range(1, count + 1):
        here, there = there, here
        began = time.perf_counter()
        revision = here.set(number)
        took["answered"].append(time.perf_counter() - began)
        while there.revision() < revision:
            time.sleep(0.001)
        took["in force"].append(time.perf_counter() - began)
        began = time.perf_counter()
        here.set(number + count, "?wait=30")
        took["acknowledged"].append(time.perf_counter() - began)
    return {name: [seconds * 1e3 for seconds in each] for name, each in took.items()}


def story(folder: Folder, store: str, count: int) -> Report:
    report = Report("Two gateways on one PostgreSQL")
    models = folder.scratch / "store"
    (models / "T" / "1").mkdir(parents=True, exist_ok=True)
    (models / "T" / "1" / "model.onnx").write_bytes(folder.model("T").read_bytes())
    with Sluice(folder, models) as alone:
        admin = Admin(alone)
        simple = [_seconds(admin, number) * 1e3 for number in range(1, count + 1)]
        start, memory = alone.startup, alone.memory()[0]
    shared = {"store": store}
    with (
        Sluice(folder, models, shared | {"machine": "a"}) as a,
        Sluice(folder, models, shared | {"machine": "b"}) as b,
    ):
        took = changes(Admin(a), Admin(b), count)
        shared_start, shared_memory = a.startup, a.memory()[0]
    report.figures = [
        Figure("until in force on the other gateway", took["in force"], 1500, most=True, unit="ms"),
        Figure("until acknowledged by both (--wait)", took["acknowledged"], 1500, most=True, unit="ms"),
        Figure("until answered", took["answered"], unit="ms"),
        Figure("until answered, SQLite alone", simple, unit="ms"),
        Figure("start until ready", [shared_start], unit="s"),
        Figure("start until ready, SQLite alone", [start], unit="s"),
        Figure("memory, PSS", [shared_memory], unit="MB"),
        Figure("memory, PSS, SQLite alone", [memory], unit="MB"),
    ]
    return report


def _seconds(admin: Admin, number: int) -> float:
    began = time.perf_counter()
    admin.set(number)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.store", description=__doc__)
    parser.add_argument("--store", required=True)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--results", default="store", help="name of the files in loadtests/results")
    arguments = parser.parse_args()
    report = story(prepare(), arguments.store, arguments.changes)
    path = report.write(arguments.results)
    print(report.table(), f"\nwritten to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
