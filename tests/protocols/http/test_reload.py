"""Versions that are replaced while they answer: ten thousand requests, and none fails or gets what was before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gateways import OPENED, Server, put, running
from onnx import TensorProto, helper
from rawhttp import Raw, infer, tensor

REQUESTS = 10_000
CALLERS = 5
DEPTH = 2

ROW = infer("scale", tensor("x", [1, 2], "FP32", [1, 1]))


def scale(factor: float) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "f"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor("f", TensorProto.FLOAT, [1], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture
def explicit(tmp_path: Path) -> Iterator[Server]:
    put(tmp_path / "models", "scale", 1, scale(1))
    settings = {"control_mode": "explicit", "load": "*"} | OPENED
    with running(tmp_path / "models", tmp_path / "state", **settings) as server:
        yield server


class Swaps:
    """`published`: what the last load call that returned has put in force; `loading`: what the next one brings."""

    def __init__(self) -> None:
        self.published = self.loading = 1
        self.done = threading.Event()


class Caller(threading.Thread):
    def __init__(self, server: Server, swaps: Swaps) -> None:
        super().__init__()
        self.server, self.swaps = server, swaps
        self.answered = 0
        self.wrong: list[str] = []
        self.seen: set[int] = set()

    def run(self) -> None:
        with Raw(self.server.host) as client:
            while self.answered < REQUESTS / CALLERS:
                oldest = self.swaps.published
                client.send(ROW * DEPTH)
                for _ in range(DEPTH):
                    reply = client.reply()
                    newest = self.swaps.loading
                    if reply.status != 200:
                        self.wrong.append(f"{reply.status}: {reply.error}")
                        continue
                    factor = int(reply.json["outputs"][0]["data"][0])
                    self.seen.add(factor)
                    self.answered += 1
                    if not oldest <= factor <= newest:
                        self.wrong.append(f"{factor}, not of {oldest} to {newest}")
                if self.wrong:
                    return


def test_ten_thousand_requests_while_versions_are_swapped(explicit: Server) -> None:
    swaps = Swaps()
    callers = [Caller(explicit, swaps) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    folder = explicit.models / "scale" / "1"
    with httpx.Client(base_url=explicit.rest) as admin:
        while any(caller.is_alive() for caller in callers):
            swaps.loading += 1
            (folder / "next").write_bytes(scale(swaps.loading))
            (folder / "next").replace(folder / "model.onnx")
            reply = admin.post("/v2/repository/models/scale/load")
            assert reply.status_code == 200, reply.text
            swaps.published = swaps.loading
        for caller in callers:
            caller.join()
        counted = admin.get("/v2/models/scale/stats").json()["model_stats"][0]["inference_stats"]
    assert [caller.wrong for caller in callers if caller.wrong] == []
    assert sum(caller.answered for caller in callers) == REQUESTS
    assert (counted["success"]["count"], counted["fail"]["count"]) == (REQUESTS, 0)
    seen = set().union(*(caller.seen for caller in callers))
    assert len(seen) >= 5, f"only {len(seen)} of {swaps.loading} were there while requests came"
