"""A control plane on a real manager, with real models, and what a restart leaves of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from gateway.control.follower import Follower
from gateway.control.plane import ControlPlane
from gateway.core.infer import InferRequest
from gateway.dataplane import Dataplane
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.engine import onnx_engine
from gateway.models.manager import Manager
from gateway.models.onnx import Runtime
from gateway.models.repository import Repository
from gateway.routing.split import Splits
from gateway.settings import Settings
from gateway.store.sqlite import SqliteStore


def _times(factor: float) -> bytes:
    """y = factor * x, FP32 [n, 1]."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "times",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _put(models: Path, model: str, version: int, content: bytes | None = None) -> None:
    folder = models / model / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(_times(version) if content is None else content)


class Gateway(NamedTuple):
    plane: ControlPlane
    follower: Follower
    manager: Manager
    splits: Splits
    store: SqliteStore

    async def answers(self, model: str, version: str = "", key: str = "") -> str:
        """The version that answered, having checked that it did."""
        inputs = {"x": np.ones((1, 1), np.float32)}
        request = InferRequest(model, version, "", inputs)
        request.key = key
        response = await Dataplane(self.manager, self.splits).infer(request)
        assert response.outputs["y"][0, 0] == float(response.version)
        return response.version

    async def shares(self, model: str, keys: int = 200) -> dict[str, int]:
        found = [await self.answers(model, key=str(key)) for key in range(keys)]
        return {version: found.count(version) for version in sorted(set(found))}

    def ready(self, model: str) -> list[str]:
        return [s.version for s in self.manager.index() if s.name == model and s.state == "READY"]


Start = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """`m` in versions 1 to 3, of which the policy holds the newest; `other` in version 1."""
    for version in (1, 2, 3):
        _put(tmp_path / "models", "m", version)
    _put(tmp_path / "models", "other", 1)
    return tmp_path / "models"


@pytest.fixture
def put(models: Path) -> Callable[..., None]:
    """put(model, version, content): content is a model that multiplies by its version, if it is not given."""
    return partial(_put, models)


@pytest.fixture
def times() -> Callable[[float], bytes]:
    return _times


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    return Runtime(1)


@pytest.fixture
def start(tmp_path: Path, models: Path, runtime: Runtime) -> Start:
    """Starts a gateway without listeners, on the same state each time."""

    @asynccontextmanager
    async def start(**given: Any) -> AsyncIterator[Gateway]:
        settings = Settings(models=str(models), state=str(tmp_path / "state"), **given)
        with ThreadPoolExecutor(2) as pool:
            engine = onnx_engine(runtime, pool, BatchPolicy())
            manager = Manager(Repository(models), engine, mode=settings.control_mode)
            splits = Splits()
            async with SqliteStore(Path(settings.state)) as store:
                follower = Follower(manager, splits, settings, store.blob)
                plane = ControlPlane(store, follower, settings)
                await plane.start()
                yield Gateway(plane, follower, manager, splits, store)
                await plane.close()
            await manager.close()

    return start
