"""The load: Debian's wrk on a core of its own, sending one request over and over."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from loadtests.process import LOAD_CORE, Process


@dataclass(frozen=True, slots=True)
class Request:
    """`body` is a file; `head` the length of its JSON where raw tensors follow, else empty; `token` is presented as
    Bearer token, and with `fresh` each request says something that none before it did."""

    url: str
    body: Path
    head: str = ""
    token: str = ""
    fresh: bool = False

    def send(self) -> tuple[int, bytes]:
        """Once, to see whether it is answered rightly."""
        headers = {"Content-Type": "application/json"}
        if self.head:
            headers = {
                "Content-Type": "application/octet-stream",
                "Inference-Header-Content-Length": self.head,
            }
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url, self.body.read_bytes(), headers)
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, reply.read()


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement. Latencies in ms, CPU in µs a request: over the server's process tree, and of the load itself."""

    rate: float
    p50: float
    p99: float
    cpu: float
    load_cpu: float = 0.0


def apply(server: Process, request: Request, connections: int, seconds: float, cores: str = str(LOAD_CORE)) -> Sample:
    """`cores` is where the load may come from, as taskset takes them.

    Raises RuntimeError if any request failed: a fast error is no speed.
    """
    environment = {**os.environ, "BODY": str(request.body), "HEAD": request.head, "TOKEN": request.token}
    environment["FRESH"] = "yes" if request.fresh else ""
    script = str(Path(__file__).parent / "post.lua")
    command = [
        "taskset",
        "-c",
        cores,
        "wrk",
        "--latency",
        "-t1",
        f"-c{connections}",
        "--timeout=20s",
    ]
    before, own = server.cpu(), _own_cpu()
    output = subprocess.run(
        [*command, f"-d{seconds:g}s", "-s", script, request.url],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    used = server.cpu() - before
    told = json.loads(output.strip().splitlines()[-1])
    if told["failed"] or not told["requests"]:
        raise RuntimeError(f"{server.name}: {told['failed']} of {told['requests']} requests failed; {request.url}")
    return Sample(
        rate=told["requests"] / told["duration"] * 1e6,
        p50=told["p50"] / 1e3,
        p99=told["p99"] / 1e3,
        cpu=used / told["requests"] * 1e6,
        load_cpu=(_own_cpu() - own) / told["requests"] * 1e6,
    )


def _own_cpu() -> float:
    """Seconds of what this process has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
