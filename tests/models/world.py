"""A repository of models that add a number, and a manager of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from gateway.core.errors import InvalidArgument
from gateway.core.infer import InferRequest
from gateway.core.observe import Statistics
from gateway.core.servable import Servable
from gateway.core.signature import Signature
from gateway.core.tensor import DATA_TYPES, Array, TensorSpec
from gateway.dataplane import Dataplane
from gateway.models.batcher import Batcher
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.config import ModelConfig
from gateway.models.cost import Cost, Growth
from gateway.models.manager import Engine, Manager, Mode
from gateway.models.repository import Repository
from gateway.routing.split import Splits

SIGNATURE = Signature(
    [TensorSpec("x", DATA_TYPES["FP32"], (-1,))], [TensorSpec("y", DATA_TYPES["FP32"], (-1,))], batched=True
)

READY = ("READY", "")


class Adds:
    """An Executable: y = x + the number in its file."""

    signature = SIGNATURE

    def __init__(self, path: Path, opened: list[Adds]) -> None:
        try:
            self.number = float(path.read_text())
        except ValueError as error:
            raise InvalidArgument(f"{path.name} is not a number") from error
        self.open = True
        opened.append(self)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], options: Any = None) -> list[Array]:
        assert self.open
        return [inputs["x"] + np.float32(self.number)]

    def run_options(self) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        self.open = False


class World:
    """A repository of such models, and a manager of it. `gate` holds up loads while it is clear."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir()
        self.opened: list[Adds] = []
        self.loads: list[str] = []
        self.loading = 0
        self.most = 0
        self.warmed: list[ModelConfig] = []
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()
        self.pool = ThreadPoolExecutor(1)
        self.manager: Manager

    def put(self, model: str, version: str | int, content: float | str) -> None:
        folder = self.root / model / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / ".new"
        fresh.write_text(str(content))
        fresh.rename(folder / "model.onnx")

    def write(self, model: str, name: str, content: str) -> None:
        (self.root / model).mkdir(exist_ok=True)
        (self.root / model / name).write_text(content)

    def load(self, path: Path, config: ModelConfig) -> Adds:
        self.loads.append(f"{path.parent.parent.name}/{path.parent.name}")
        self.loading += 1
        self.most = max(self.most, self.loading)
        self.began.set()
        assert self.gate.wait(20)
        self.loading -= 1
        return Adds(path, self.opened)

    def warm(self, executable: Any, config: ModelConfig) -> int:
        self.warmed.append(config)
        if executable.number == 666:
            raise InvalidArgument("warm-up 'w' failed")
        return len(self.warmed)

    def serve(self, executable: Any, config: ModelConfig, statistics: Statistics, warmed: int) -> Servable:
        assert warmed
        if executable.number == 777:
            raise ZeroDivisionError
        return Batcher(executable, BatchPolicy(), statistics, self.pool, Cost(), Growth(8))

    def start(self, mode: Mode) -> Manager:
        engine = Engine(load=self.load, warm=self.warm, serve=self.serve)
        self.manager = Manager(Repository(self.root), engine, mode=mode)
        return self.manager

    async def answer(self, model: str, version: str = "") -> tuple[float, str]:
        """What 0 is made into, and the version that did it."""
        request = InferRequest(model, version, "", {"x": np.zeros(1, np.float32)})
        response = await Dataplane(self.manager, Splits()).infer(request)
        return float(response.outputs["y"][0]), response.version

    def states(self, model: str) -> dict[str, tuple[str, str]]:
        return {s.version: (s.state, s.reason) for s in self.manager.index() if s.name == model}

    def live(self) -> int:
        return sum(executable.open for executable in self.opened)


def run(world: World, mode: Mode, story: Any) -> None:
    async def whole() -> None:
        manager = world.start(mode)
        try:
            async with asyncio.timeout(20):
                await story(manager)
        finally:
            world.gate.set()
            async with asyncio.timeout(5):
                await manager.close()

    asyncio.run(whole())


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - of states that no event tells
            await asyncio.sleep(0)
