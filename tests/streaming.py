"""Streams over files, in real processes: a folder to work in, and `sluice streams run` in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from gateways import put
from servers.server import free_port, until
from small_models import affine

ROOT = Path(__file__).parents[1]
STREAM = """\
input: {files: {path: in, stable_seconds: 0, poll_seconds: 0.02}}
decode: {format: json}
map: {x: [a, b, c, {field: d, default: 0}]}
model: MODEL
encode: {format: json, fields: {id: id, y: 'y[0]', version: $version}}
output: {files: {path: out}}
"""


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    return clean | {"PYTHONPATH": str(ROOT)} | more


class Place:
    """A working folder with the model `affine` in two versions (times 2 and 3, both served) and the stream `double`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for version, factor in ((1, 2.0), (2, 3.0)):
            put(folder / "models", "affine", version, affine(factor))
        (folder / "models" / "affine" / "config.pbtxt").write_text("version_policy: { all {} }\n")
        (folder / "in").mkdir()
        self.stream("double")

    def stream(self, name: str, model: str = "affine", more: str = "") -> None:
        (self.folder / f"{name}.yaml").write_text(STREAM.replace("MODEL", model) + more)

    def absolute(self, name: str) -> str:
        """The stream's file, with paths that hold wherever a process works."""
        file = self.folder / f"{name}.yaml"
        text = file.read_text()
        for part in ("in", "out"):
            text = text.replace(f"path: {part}", f"path: {self.folder / part}")
        file.write_text(text)
        return str(file)

    def feed(self, name: str, lines: Sequence[str]) -> None:
        """A file that appears whole."""
        hidden = self.folder / "in" / f".{name}"
        hidden.write_text("".join(f"{line}\n" for line in lines))
        hidden.rename(self.folder / "in" / name)

    def records(self, first: int, count: int) -> list[str]:
        return [json.dumps({"id": n, "a": n, "b": 0, "c": 0}) for n in range(first, first + count)]

    def results(self) -> list[dict[str, Any]]:
        """Of whole files; the oldest first."""
        files = sorted((self.folder / "out").glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]

    def dead(self) -> list[dict[str, Any]]:
        files = (self.folder / "out" / "dead").glob("*.jsonl")
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]

    def sluice(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "gateway.cli", "streams", *arguments],
            capture_output=True, text=True, timeout=60, cwd=self.folder, env=environment(**more),
        )  # fmt: skip


class Running:
    """`sluice streams run`, in a process of its own."""

    def __init__(self, place: Place, *files: str, **more: str) -> None:
        self.place = place
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = place.folder / f"log-{self.port}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "streams", "run", *files],
                cwd=place.folder, env=environment(SLUICE_STREAMS_PORT=str(self.port), **more), stderr=log, stdout=log,
            )  # fmt: skip

    def text(self) -> str:
        return self.log.read_text()

    def ready(self) -> bool:
        assert self.process.poll() is None, self.text()
        try:
            return httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def view(self, name: str = "double") -> dict[str, Any]:
        token = (self.place.folder / ".sluice" / "admin-token").read_text().strip()
        reply = httpx.get(f"{self.url}/admin/v1/streams/{name}", headers={"Authorization": f"Bearer {token}"})
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def await_state(self, state: str, name: str = "double") -> None:
        until(lambda: self.view(name)["state"] == state, what=f"state {state}")

    def sluice(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.place.sluice(*arguments, SLUICE_STREAMS_PORT=str(self.port), SLUICE_ADMIN_PORT=str(free_port()))

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def running(place: Place, *files: str, **more: str) -> Iterator[Running]:
    found = Running(place, *(files or ("double.yaml",)), **more)
    try:
        until(found.ready, what="being ready")
        yield found
        if found.process.poll() is None:
            assert found.stop() == 0, found.text()
        assert "Traceback" not in found.text(), found.text()
    finally:
        found.process.kill()
        found.process.wait()
