"""A server of two workers, and load on it that counts what fails."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import onnx
from gateways import OPENED, Server, running
from onnx import TensorProto, helper

from gateway.client import Client

TOKEN = "workers"


def factor(value: float) -> bytes:
    """y = value * x, FP32 [n, 1]."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "times",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [1], [value])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}).encode()


class Fleet:
    """A server and what operators do with it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.admin = httpx.Client(
            base_url=server.admin, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60, trust_env=False
        )

    def workers(self) -> list[dict[str, Any]]:
        """Those that serve, without the spare one."""
        found = self.admin.get("/admin/v1/workers").raise_for_status().json()["workers"]
        return [each for each in found if each["role"] == "serving" and each["slot"] is not None]

    def pids(self) -> dict[int, int]:
        """Slot → the process that is ready in it."""
        return {each["slot"]: each["pid"] for each in self.workers() if each["state"] == "ready"}

    def until(self, what: Callable[[], Any], limit: float = 20.0) -> Any:
        """Asks again and again, until it is true of the server."""
        end = time.monotonic() + limit
        while not (found := what()):
            assert time.monotonic() < end, f"not within {limit} s: {self.workers()} {self.server.log()}"
            time.sleep(ASK)
        return found

    def replaced(self, slot: int, pid: int) -> int:
        """Waits for another one to be in the slot, and returns its pid."""
        found: int = self.until(lambda: (new := self.pids().get(slot)) not in (None, pid) and new)
        return found

    def until_free(self) -> None:
        """Waits until another server could have the REST port."""
        host, port = self.server.host.split(":")
        end = time.monotonic() + 5
        while True:
            try:
                socket.create_server((host, int(port))).close()
                return
            except OSError:
                assert time.monotonic() < end, "its port is still taken"
                time.sleep(0.02)

    def put(self, version: int, value: float) -> None:
        """A file of model `m`, at once."""
        folder = self.server.models / "m" / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder.parent / f".{version}.onnx"
        aside.write_bytes(factor(value))
        aside.replace(folder / "model.onnx")

    def load(self) -> None:
        Client(self.server.rest).send("POST", "/v2/repository/models/m/load")

    def metric(self, name: str) -> float:
        """The sum of its samples."""
        page = Client(self.server.admin).send("GET", "/metrics").body.decode()
        lines = [line for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


#: seconds between two questions: an answer costs the supervisor and each worker something
ASK = 0.02
#: seconds between an answer and the next request of a connection: a load, and still cores left for what it is put on
PACE = 0.002


class Load(threading.Thread):
    """One request after the other on each of some connections, until `stop`.

    acknowledged   the oldest answer that a request which begins now may get
    failed         what was no good answer; `stale` answers older than they may be
    """

    def __init__(self, url: str, connections: int = 8, path: str = "/v2/models/m/infer") -> None:
        super().__init__()
        place = urlsplit(url)
        self._place = place.hostname, place.port
        self._head = b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(BODY))
        self._connections = connections
        self.acknowledged = 0.0
        self.good = 0
        self.failed: list[str] = []
        self.stale: list[str] = []
        self._stopping = False

    def __enter__(self) -> Load:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping = True
        self.join()

    def wait_for(self, more: int) -> None:
        end, wanted = time.monotonic() + 30, self.good + more
        while self.good < wanted:
            assert time.monotonic() < end, f"{wanted - self.good} answers are missing: {self.failed[-3:]}"
            time.sleep(0.005)

    def run(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(self._connections)))

    async def _one(self) -> None:
        reader = writer = None
        while not self._stopping:
            oldest = self.acknowledged
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(*self._place)
                writer.write(self._head + BODY)
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                body = await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failed.append(repr(error))
                if writer is not None:
                    writer.close()
                writer = None
                await asyncio.sleep(PACE)
                continue
            self._judge(head, body, oldest)
            await asyncio.sleep(PACE)
            if "connection: close" in head:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    def _judge(self, head: str, body: bytes, oldest: float) -> None:
        if not head.startswith("http/1.1 200"):
            self.failed.append(body.decode())
            return
        self.good += 1
        answer = json.loads(body)["outputs"][0]["data"][0]
        if answer < oldest:
            self.stale.append(f"{answer} where {oldest} had been acknowledged")


@contextmanager
def fleet(folder: Path, **settings: str) -> Iterator[Fleet]:
    """A server of two workers with model `m`, which answers 1, in explicit mode."""
    first = folder / "models" / "m" / "1"
    first.mkdir(parents=True, exist_ok=True)
    (first / "model.onnx").write_bytes(factor(1))
    chosen = {"workers": "2", "control_mode": "explicit", "load": "*", "admin_token": TOKEN, **OPENED} | settings
    with running(folder / "models", folder / "state", start_limit=60, **chosen) as server:
        found = Fleet(server)
        with found.admin:
            yield found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        # a zombie that nobody waits for is dead
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
