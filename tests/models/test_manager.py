from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.errors import InvalidArgument, NotFound, SluiceError, Unavailable
from gateway.core.infer import InferRequest
from gateway.core.observe import Statistics
from gateway.core.servable import Servable
from gateway.core.signature import Signature
from gateway.core.tensor import DATA_TYPES, Array, TensorSpec
from gateway.dataplane import Dataplane
from gateway.models.batcher import Batcher, BatchPolicy
from gateway.models.config import ModelConfig, VersionPolicy
from gateway.models.cost import Cost, Growth
from gateway.models.manager import Engine, Handle, Manager, Mode
from gateway.models.repository import Repository
from gateway.routing.split import Splits

SIGNATURE = Signature(
    [TensorSpec("x", DATA_TYPES["FP32"], (-1,))], [TensorSpec("y", DATA_TYPES["FP32"], (-1,))], batched=True
)


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


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    made = World(tmp_path / "models")
    yield made
    made.pool.shutdown()
    assert made.live() == 0
    assert not list((tmp_path / "tmp").iterdir())


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


READY = ("READY", "")


def test_at_the_start_everything_is_loaded_and_failures_stop_nothing(world: World) -> None:
    world.put("a", 1, 10)
    world.put("a", 2, 20)
    world.put("b", 1, 30)
    world.write("b", "config.pbtxt", "version_policy { all {} }")
    world.put("b", 2, "broken")
    world.put("c", 1, 0)
    world.write("c", "config.pbtxt", "sequence_batching {}")
    world.put("d", 1, 666)
    world.put("e", 1, 777)
    world.write("f", "config.pbtxt", "")
    (world.root / "g" / "1").mkdir(parents=True)

    async def story(manager: Manager) -> None:
        await manager.reconcile()
        assert await world.answer("a") == (20, "2")
        assert await world.answer("b") == (30, "1")
        assert world.states("a") == {"2": READY}
        assert world.states("b") == {"1": READY, "2": ("UNAVAILABLE", "model.onnx is not a number")}
        assert "sequence_batching" in world.states("c")["1"][1]
        assert world.states("d") == {"1": ("UNAVAILABLE", "warm-up 'w' failed")}
        assert world.states("e")["1"][0] == "UNAVAILABLE"
        assert "'g/1/model.onnx' is not there" in world.states("g")["1"][1]
        assert world.states("f") == {"": ("", "")}
        for model in "cdefg":
            with pytest.raises((Unavailable, NotFound), match=f"Request for unknown model: '{model}'"):
                manager.acquire(model, "")
        assert world.live() == 2
        for call in (manager.load("a"), manager.unload("a"), manager.prepare("a")):
            with pytest.raises(Unavailable, match="explicit model load / unload is not allowed"):
                await call
        loads = len(world.loads)
        world.put("a", 3, 30)
        world.put("new", 1, 30)
        await manager.reconcile()
        await manager.look()  # only what poll mode does by itself
        assert len(world.loads) == loads

    run(world, "none", story)


def test_what_is_not_there(world: World) -> None:
    world.put("m", 1, 1)
    world.put("m", 2, 2)
    world.put("idle", 1, 1)

    async def story(manager: Manager) -> None:
        await manager.reconcile()
        await manager.load("m")
        for model, version, error, text in [
            ("none", "", NotFound, "Request for unknown model: 'none' is not found"),
            ("idle", "", NotFound, "Request for unknown model: 'idle' is not found"),
            ("m", "9", NotFound, "Request for unknown model: 'm' version 9 is not found"),
            ("m", "nobody", NotFound, "'m' version nobody is not found"),
            ("m", "1", NotFound, "'m' version 1 is not found"),
        ]:
            with pytest.raises(error, match=text):
                manager.acquire(model, version)
        manager.set_labels("m", {"canary": "7"})
        with pytest.raises(Unavailable, match="label 'canary' of model 'm' names version 7, which is not ready"):
            manager.acquire("m", "canary")
        await manager.unload("m")
        with pytest.raises(Unavailable, match="'m' has no available versions"):
            manager.acquire("m", "")
        with pytest.raises(Unavailable, match=r"'m' version 2 is not ready \(UNAVAILABLE\)"):
            manager.acquire("m", "2")
        assert manager.present("m") == {}
        assert world.states("m") == {"2": ("UNAVAILABLE", "unloaded")}
        assert world.states("idle") == {"": ("", "")}
        for call in (manager.load("none"), manager.unload("none")):
            with pytest.raises(NotFound, match="'none'"):
                await call
        with pytest.raises(InvalidArgument, match="model name"):
            await manager.load("../m")
        await manager.unload("idle")
        assert [status.name for status in manager.index()] == ["idle", "m"]

    run(world, "explicit", story)


def test_what_did_not_change_is_not_loaded_again(world: World) -> None:
    world.put("m", 1, 1)
    world.write("m", "config.pbtxt", "metric_tags { key: 'a' value: 'b' }")

    async def story(manager: Manager) -> None:
        await manager.load("m")
        handle = manager.present("m")["1"]
        await manager.load("m")
        world.write("m", "config.pbtxt", "metric_tags { key: 'a' value: 'c' } version_policy { latest {} }")
        await manager.load("m")
        assert manager.present("m")["1"] is handle
        assert handle.config.declared is not None
        assert handle.config.declared["metric_tags"] == {"a": "c"}
        assert world.loads == ["m/1"]
        world.write("m", "config.pbtxt", "instance_group { count: 2 }")
        await manager.load("m")
        assert world.loads == ["m/1", "m/1"]
        world.put("m", 1, 2)
        await manager.load("m")
        assert await world.answer("m") == (2, "1")
        assert world.loads == ["m/1"] * 3
        assert world.warmed[-1].instances == 2
        await until(lambda: world.live() == 1)

    run(world, "explicit", story)


def test_label_files_and_warm_up_data_are_part_of_a_model(world: World) -> None:
    world.put("m", 1, 1)
    world.write("m", "labels.txt", "a")
    output = "output { name: 'y' data_type: TYPE_FP32 dims: -1 label_filename: 'labels.txt' }"
    warmup = "model_warmup { inputs { key: 'x' value { data_type: TYPE_FP32 input_data_file: 'x.bin' } } }"
    world.write("m", "config.pbtxt", output + warmup)

    async def story(manager: Manager) -> None:
        with pytest.raises(InvalidArgument, match=r"failed to load 'm', version 1: 'm/warmup/x\.bin' is not there"):
            await manager.load("m")
        (world.root / "m" / "warmup").mkdir()
        world.write("m", "warmup/x.bin", "1234")
        await manager.load("m")
        assert world.warmed[0].warmup[0].inputs["x"].file == str(world.root / "m" / "warmup" / "x.bin")
        await manager.load("m")
        assert len(world.loads) == 1
        world.write("m", "labels.txt", "other")
        await manager.load("m")
        assert len(world.loads) == 2
        (world.root / "m" / "labels.txt").unlink()
        (world.root / "m" / "labels.txt").symlink_to("/etc/hostname")
        with pytest.raises(InvalidArgument, match="leads out"):
            await manager.load("m")
        assert world.states("m")["1"][0] == "READY"

    run(world, "explicit", story)


def test_a_new_instance_takes_over_and_the_old_one_drains(world: World) -> None:
    world.put("m", 1, 1)

    async def story(manager: Manager) -> None:
        await manager.load("m")
        await world.answer("m")
        old = manager.acquire("m", "")
        counted = old.statistics
        world.put("m", 1, 2)
        world.gate.clear()
        world.began.clear()
        loading = asyncio.create_task(manager.load("m"))
        await until(world.began.is_set)
        assert await world.answer("m") == (1, "1")
        assert world.states("m") == {"1": READY}
        world.gate.set()
        await loading
        assert await world.answer("m") == (2, "1")
        assert [executable.open for executable in world.opened] == [True, True]
        assert manager.present("m")["1"].statistics is counted
        assert counted.success_count == 3
        old.release()
        await until(lambda: not world.opened[0].open)
        assert await world.answer("m") == (2, "1")
        assert dict(manager.statistics()) == {("m", "1"): counted}

    run(world, "explicit", story)


def test_unload_drains(world: World) -> None:
    world.put("m", 1, 1)

    async def story(manager: Manager) -> None:
        await manager.load("m")
        held = [manager.acquire("m", "") for _ in range(2)]
        await manager.unload("m")
        assert world.states("m") == {"1": ("UNLOADING", "")}
        with pytest.raises(Unavailable):
            manager.acquire("m", "1")
        held[0].release()
        assert world.live() == 1
        held[1].release()
        await until(lambda: world.states("m") == {"1": ("UNAVAILABLE", "unloaded")})
        assert world.live() == 0
        await manager.load("m")
        assert world.states("m") == {"1": READY}

    run(world, "explicit", story)


def test_a_load_that_fails_leaves_what_is_served(world: World) -> None:
    world.put("m", 1, 1)
    world.put("m", 2, 2)
    world.write("m", "config.pbtxt", "version_policy { all {} }")

    async def story(manager: Manager) -> None:
        await manager.load("m")
        before = dict(manager.present("m"))
        world.put("m", 1, 10)
        world.put("m", 2, "broken")
        with pytest.raises(InvalidArgument, match=r"failed to load 'm', version 2: model\.onnx is not a number"):
            await manager.load("m")
        assert manager.present("m") == before
        assert world.states("m") == {"1": READY, "2": ("READY", "model.onnx is not a number")}
        with pytest.raises(InvalidArgument, match="failed to load 'm', version 2"):
            await manager.load("m", strict=False)
        assert await world.answer("m", "1") == (10, "1")
        assert await world.answer("m", "2") == (2, "2")
        world.write("m", "config.pbtxt", "nonsense: 1")
        with pytest.raises(InvalidArgument, match=r"m/config\.pbtxt: line 1, column 1"):
            await manager.load("m")
        assert await world.answer("m", "2") == (2, "2")
        assert "line 1" in world.states("m")["1"][1]
        (world.root / "m" / "config.pbtxt").unlink()
        world.put("m", 2, 20)
        await manager.load("m")
        assert await world.answer("m") == (20, "2")
        assert world.states("m") == {"1": ("UNAVAILABLE", "unloaded"), "2": READY}
        await until(lambda: world.live() == 1)

    run(world, "explicit", story)


def test_no_version_at_all(world: World) -> None:
    world.write("m", "config.pbtxt", "version_policy { specific { versions: 7 } }")
    world.put("m", 1, 1)

    async def story(manager: Manager) -> None:
        with pytest.raises(InvalidArgument, match="failed to load 'm': no version is available"):
            await manager.load("m")

    run(world, "explicit", story)


def test_an_old_version_stays_until_the_new_one_is_ready(world: World) -> None:
    world.put("m", 1, 1)

    async def story(manager: Manager) -> None:
        await manager.reconcile()
        world.put("m", 2, "broken")
        await manager.look()
        await manager.look()
        assert await world.answer("m") == (1, "1")
        assert world.states("m") == {"1": READY, "2": ("UNAVAILABLE", "model.onnx is not a number")}
        loads = len(world.loads)
        await manager.look()
        assert len(world.loads) == loads  # it is not tried again until it changes
        world.put("m", 2, 2)
        await manager.look()
        await manager.look()
        assert await world.answer("m") == (2, "2")
        assert world.states("m")["1"] == ("UNAVAILABLE", "unloaded")

    run(world, "poll", story)


def test_polling_loads_nothing_that_is_half_copied(world: World) -> None:
    world.put("m", 1, 1)

    async def story(manager: Manager) -> None:
        await manager.reconcile()
        assert await world.answer("m") == (1, "1")
        for part in ("2", "20", "200"):
            world.put("m", 2, part)
            world.put("new", 1, part)
            await manager.look()
            await manager.reconcile()  # as after a change of a label: no look
            assert await world.answer("m") == (1, "1")
            assert not manager.present("new")
        assert set(world.loads) == {"m/1"}
        await manager.look()
        assert await world.answer("m") == (200, "2")
        assert await world.answer("new") == (200, "1")
        world.write("m", "config.pbtxt", "version_policy { ")
        await manager.look()
        assert world.states("m")["2"] == READY
        world.write("m", "config.pbtxt", "version_policy { all {} }")
        await manager.look()
        assert set(world.states("m")) == {"1", "2"}
        await manager.look()
        assert await world.answer("m", "1") == (1, "1")

    run(world, "poll", story)


def test_polling_follows_what_goes(world: World) -> None:
    world.put("m", 1, 1)
    world.put("other", 1, 1)

    def gone(model: str) -> None:
        (world.root / model / "1" / "model.onnx").unlink()
        (world.root / model / "1").rmdir()
        (world.root / model).rmdir()

    async def story(manager: Manager) -> None:
        await manager.reconcile()
        gone("m")
        await manager.look()
        assert await world.answer("m") == (1, "1")
        await manager.look()
        assert world.states("m") == {"1": ("UNAVAILABLE", "unloaded")}
        assert await world.answer("other") == (1, "1")
        world.put("m", 1, 5)
        await manager.look()
        await manager.look()
        assert await world.answer("m") == (5, "1")
        world.root.rename(world.root.with_name("away"))
        with pytest.raises(Unavailable, match="cannot be read"):
            await manager.look()
        assert await world.answer("m") == (5, "1")
        world.root.with_name("away").rename(world.root)
        world.write("m", "2", "no folder")
        (world.root / "m" / "1").chmod(0o755)
        await manager.look()
        assert world.loads.count("m/1") == 2

    run(world, "poll", story)


def test_a_broken_version_that_is_taken_away_leaves_the_index(world: World) -> None:
    world.put("m", 1, 1)
    world.put("m", 2, "broken")

    async def story(manager: Manager) -> None:
        await manager.reconcile()
        assert world.states("m")["2"][0] == "UNAVAILABLE"
        (world.root / "m" / "2" / "model.onnx").unlink()
        (world.root / "m" / "2").rmdir()
        await manager.look()
        await manager.look()
        assert world.states("m") == {"1": READY}
        assert await world.answer("m") == (1, "1")

    run(world, "poll", story)


def test_labels(world: World) -> None:
    for version in (1, 2, 3):
        world.put("m", version, version)
    world.write("m", "model.yaml", "labels: {canary: 2}")

    async def story(manager: Manager) -> None:
        await manager.load("m")
        assert set(manager.present("m")) == {"2", "3", "canary", ""}
        assert await world.answer("m") == (3, "3")
        assert await world.answer("m", "canary") == (2, "2")
        manager.set_labels("m", {"stable": "1"})
        with pytest.raises(Unavailable, match="label 'stable' of model 'm' names version 1"):
            manager.acquire("m", "")
        await manager.reconcile()
        assert await world.answer("m") == (1, "1")
        assert await world.answer("m", "stable") == (1, "1")
        assert await world.answer("m", "3") == (3, "3")
        manager.set_labels("m", {"stable": "2", "canary": "3"})
        assert await world.answer("m") == (2, "2")
        assert await world.answer("m", "canary") == (3, "3")
        await manager.reconcile()
        assert set(manager.present("m")) == {"2", "3", "stable", "canary", ""}
        manager.set_labels("m", {})
        assert await world.answer("m", "canary") == (2, "2")
        assert await world.answer("m") == (3, "3")

    run(world, "explicit", story)


@pytest.mark.parametrize("mode", ["none", "poll", "explicit"])
def test_what_is_pinned_stays_under_any_policy(world: World, mode: Mode) -> None:
    for version in (1, 2, 3):
        world.put("m", version, version)
    world.write("m", "config.pbtxt", "version_policy { specific { versions: 2 } }")

    async def story(manager: Manager) -> None:
        manager.set_pinned("m", ["3", "some-label"])
        await manager.reconcile()
        if mode == "explicit":
            await manager.load("m")
        assert set(manager.present("m")) == {"2", "3", ""}
        assert await world.answer("m") == (2, "2")  # the default is what the policy holds
        world.put("m", 4, 4)
        await manager.reconcile()
        if mode == "poll":
            await manager.look()
            await manager.look()
        manager.set_pinned("m", ["4", "1"])
        await manager.reconcile()
        assert set(manager.present("m")) == {"1", "2", "4", ""}
        manager.set_pinned("m", [])
        await manager.reconcile()
        assert set(manager.present("m")) == {"2", ""}
        await until(lambda: world.live() == 1)

    run(world, mode, story)


def test_a_pinned_version_outlives_its_files(world: World) -> None:
    world.put("m", 1, 1)
    world.put("m", 2, 2)

    async def story(manager: Manager) -> None:
        manager.set_labels("m", {"stable": "1"})
        await manager.reconcile()
        (world.root / "m" / "1" / "model.onnx").unlink()
        (world.root / "m" / "1").rmdir()
        await manager.look()
        await manager.look()
        assert await world.answer("m") == (1, "1")

    run(world, "poll", story)


def test_reconcile_takes_up_no_change_outside_of_poll_mode(world: World) -> None:
    world.put("m", 1, 1)

    async def story(manager: Manager) -> None:
        await manager.reconcile()
        await manager.load("m")
        world.put("m", 1, 5)
        world.put("m", 2, 2)
        world.write("m", "config.pbtxt", "nonsense")
        await manager.reconcile()
        assert await world.answer("m") == (1, "1")
        (world.root / "m" / "config.pbtxt").unlink()
        manager.set_pinned("m", ["2"])
        await manager.reconcile("other")
        assert "2" not in manager.present("m")
        await manager.reconcile("m")
        assert await world.answer("m", "2") == (2, "2")
        assert await world.answer("m") == (1, "1")  # it is for who names it, the policy does not know it
        await manager.load("m")
        assert await world.answer("m") == (2, "2")

    run(world, "explicit", story)


def test_overrides(world: World) -> None:
    world.put("m", 1, 1)
    world.put("m", 2, 2)

    async def story(manager: Manager) -> None:
        await manager.load("m", '{"version_policy": {"specific": {"versions": ["1"]}}}')
        assert set(manager.present("m")) == {"1", ""}
        manager.set_pinned("m", ["2"])
        await manager.reconcile()
        assert await world.answer("m") == (1, "1")
        manager.set_pinned("m", [])
        await manager.load("m", ModelConfig(policy=VersionPolicy()))
        assert set(manager.present("m")) == {"1", "2", ""}
        assert world.loads == ["m/1", "m/2"]
        with pytest.raises(InvalidArgument, match="failed to load 'm': config"):
            await manager.load("m", '{"max_batch": 1}')
        await manager.load("m")
        assert set(manager.present("m")) == {"2", ""}

    run(world, "explicit", story)


def test_files_that_a_load_call_brings(world: World, tmp_path: Path) -> None:
    world.put("m", 1, 1)
    homes = tmp_path / "tmp"

    async def story(manager: Manager) -> None:
        await manager.load("m", "{}", {"file:7/model.onnx": b"70"})
        assert await world.answer("m") == (70, "7")
        assert len(list(homes.iterdir())) == 1
        await manager.load("m", "{}", {"file:7/model.onnx": b"70"})
        assert world.loads == ["m/7"]
        with pytest.raises(InvalidArgument, match="failed to load 'm', version 8"):
            await manager.load("m", "{}", {"8/model.onnx": b"broken"})
        assert await world.answer("m") == (70, "7")
        await manager.load("m", "{}", {"7/model.onnx": b"71"})
        assert await world.answer("m") == (71, "7")
        await until(lambda: len(list(homes.iterdir())) == 1)
        for files in ({"../x": b""}, {"file:/etc/x": b""}, {"model.onnx": b""}):
            with pytest.raises(InvalidArgument, match="failed to load"):
                await manager.load("m", "{}", files)
        with pytest.raises(InvalidArgument, match="files need a config"):
            await manager.load("m", None, {"7/model.onnx": b"71"})
        await manager.load("fresh", "{}", {"1/model.onnx": b"5"})
        assert await world.answer("fresh") == (5, "1")
        await manager.unload("fresh")
        await manager.load("m")
        assert await world.answer("m") == (1, "1")
        await until(lambda: not list(homes.iterdir()))
        with pytest.raises(NotFound, match="failed to load 'fresh'"):
            await manager.load("fresh")
        await manager.load("last", "{}", {"1/model.onnx": b"5"})  # close() removes its files

    run(world, "explicit", story)


def test_a_load_is_done_to_its_end_though_its_caller_goes_away(world: World) -> None:
    world.put("m", 1, 1)

    async def story(manager: Manager) -> None:
        world.gate.clear()
        task = asyncio.create_task(manager.load("m"))
        await until(world.began.is_set)
        assert world.states("m") == {"1": ("LOADING", "")}
        with pytest.raises(Unavailable, match=r"not ready \(LOADING\)"):
            manager.acquire("m", "1")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        world.gate.set()
        await until(lambda: world.states("m") == {"1": READY})

    run(world, "explicit", story)


def test_a_preparation_that_nobody_waits_for_is_discarded(world: World) -> None:
    world.put("m", 1, 1)

    async def story(manager: Manager) -> None:
        world.gate.clear()
        task = asyncio.create_task(manager.prepare("m"))
        await until(world.began.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        world.gate.set()
        await until(lambda: world.opened and world.live() == 0)
        assert world.states("m")["1"] == ("UNAVAILABLE", "not published")
        await manager.load("m")  # its turn was given back
        assert await world.answer("m") == (1, "1")

    run(world, "explicit", story)


def test_two_phases(world: World) -> None:
    world.put("m", 1, 1)

    async def story(manager: Manager) -> None:
        prepared = await manager.prepare("m")
        assert not manager.present("m")
        assert world.live() == 1
        waiting = asyncio.create_task(manager.unload("m"))
        manager.publish(prepared)
        assert await world.answer("m") == (1, "1")
        await waiting
        assert not manager.present("m")
        await manager.load("m")
        world.put("m", 1, 2)
        prepared = await manager.prepare("m", "{}", {"1/model.onnx": b"3"})
        manager.discard(prepared)
        assert await world.answer("m") == (1, "1")
        assert world.states("m") == {"1": READY}
        await until(lambda: world.live() == 1)
        with pytest.raises(InvalidArgument, match="failed to load"):
            await manager.prepare("m", "{}", {"1/model.onnx": b"broken"})
        manager.publish(await manager.prepare("m"))
        assert await world.answer("m") == (2, "1")

    run(world, "explicit", story)


def test_changes_of_one_model_take_turns(world: World) -> None:
    world.put("m", 1, 1)
    world.put("n", 1, 1)

    async def story(manager: Manager) -> None:
        async def change(i: int) -> None:
            if i % 3:
                await manager.load("m", json.dumps({"instance_group": [{"count": i + 1}]}))
            else:
                await manager.unload("m")

        await asyncio.gather(*(change(i) for i in range(30)))
        assert world.most == 1
        await manager.load("m")
        assert await world.answer("m") == (1, "1")
        await until(lambda: world.live() == 1)
        world.gate.clear()
        world.began.clear()
        loading = [asyncio.create_task(manager.load("m", '{"instance_group": [{"count": 99}]}'))]
        await until(world.began.is_set)
        loading.append(asyncio.create_task(manager.load("n")))
        await until(lambda: world.most == 2)  # another model does not wait
        world.gate.set()
        await asyncio.gather(*loading)

    run(world, "explicit", story)


def test_requests_across_reloads_are_never_refused(world: World) -> None:
    world.put("m", 1, 0)

    async def story(manager: Manager) -> None:
        await manager.load("m")
        stop = False
        seen = []

        async def ask() -> None:
            while not stop:
                seen.append((await world.answer("m"))[0])
                await asyncio.sleep(0)

        asking = asyncio.create_task(ask())
        for number in range(1, 31):
            world.put("m", 1, number)
            await manager.load("m")
            count = len(seen)
            await until(lambda count=count: len(seen) > count + 1)
            assert seen[-1] == number
        stop = True
        await asking
        assert seen == sorted(seen)
        assert manager.present("m")["1"].statistics.success_count == len(seen)
        await until(lambda: world.live() == 1)

    run(world, "explicit", story)


def test_close_waits_for_requests(world: World) -> None:
    world.put("m", 1, 1)

    async def story() -> None:
        manager = world.start("explicit")
        await manager.load("m")
        handle = manager.acquire("m", "")
        closing = asyncio.create_task(manager.close())
        await until(lambda: not manager.present("m"))
        with pytest.raises(Unavailable, match="shutting down"):
            await manager.load("m")
        assert not closing.done()
        assert world.live() == 1
        handle.release()
        await closing

    asyncio.run(story())


def test_links_that_lead_out_are_not_loaded(world: World, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1")
    (world.root / "m" / "1").mkdir(parents=True)
    (world.root / "m" / "1" / "model.onnx").symlink_to(tmp_path / "secret")
    world.put("n", 1, 1)
    (world.root / "n" / "config.pbtxt").symlink_to(tmp_path / "secret")

    async def story(manager: Manager) -> None:
        for model in "mn":
            with pytest.raises(InvalidArgument, match="leads out of the model repository"):
                await manager.load(model)
        assert not world.opened

    run(world, "explicit", story)


def test_poll_goes_on_until_it_is_cancelled(world: World) -> None:
    world.put("m", 1, 1)

    async def story() -> None:
        engine = Engine(load=world.load, warm=world.warm, serve=world.serve)
        manager = world.manager = Manager(Repository(world.root), engine, mode="poll", poll_interval=0.001)
        await manager.reconcile()
        polling = asyncio.create_task(manager.poll())
        world.root.rename(world.root.with_name("away"))
        await asyncio.sleep(0.01)
        world.root.with_name("away").rename(world.root)
        world.put("m", 2, 2)
        await until(lambda: "2" in manager.present("m"))
        polling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await polling
        await manager.close()

    asyncio.run(story())


def test_a_real_model(tmp_path: Path, make: Any) -> None:
    from gateway.models import warmup
    from gateway.models.onnx import Runtime

    pool = ThreadPoolExecutor(1)
    runtime = Runtime(1)

    def warm(executable: Any, config: ModelConfig) -> tuple[Cost, Growth]:
        warmup.warm(executable, config)
        cost, growth = Cost(), Growth(8)
        warmup.measure(executable, cost, growth)
        return cost, growth

    def serve(executable: Any, config: ModelConfig, statistics: Statistics, measured: Any) -> Servable:
        return Batcher(executable, BatchPolicy(), statistics, pool, *measured)

    make.save(make.linear(), tmp_path / "linear" / "1")
    make.save(make.identity(1, ["N", 4]), tmp_path / "linear" / "2")

    async def story() -> None:
        manager = Manager(Repository(tmp_path), Engine(runtime.load, warm, serve))
        await manager.reconcile()
        assert [tuple(status) for status in manager.index()] == [("linear", "2", "READY", "")]
        manager.set_labels("linear", {"old": "1"})
        await manager.reconcile()
        dataplane = Dataplane(manager, Splits())
        x = np.ones((2, 4), np.float32)
        same = await dataplane.infer(InferRequest("linear", "", "", {"x": x}))
        assert np.array_equal(same.outputs["y"], x)
        other = await dataplane.infer(InferRequest("linear", "old", "", {"x": x}))
        assert other.outputs["y"].shape == (2, 3)
        await manager.close()

    asyncio.run(story())
    pool.shutdown()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mode=st.sampled_from(["poll", "explicit"]),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "break", "take", "load", "unload", "look", "pin", "label", "hold", "let go"]),
            st.integers(1, 3),
        ),
        max_size=25,
    ),
)
def test_whatever_happens_pointers_lead_to_open_models(
    mode: Mode, steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = World(tmp_path_factory.mktemp("world") / "models")
    held: list[Handle] = []

    async def step(manager: Manager, what: str, n: int) -> None:
        if what == "put":
            world.put("m", n, n)
        elif what == "break":
            world.put("m", n, "broken")
        elif what == "take":
            shutil.rmtree(world.root / "m" / str(n), ignore_errors=True)
        elif what == "load" and mode == "explicit":
            with contextlib.suppress(SluiceError):
                await manager.load("m", strict=n > 1)
        elif what == "unload" and mode == "explicit":
            with contextlib.suppress(SluiceError):
                await manager.unload("m")
        elif what == "look":
            await (manager.look() if mode == "poll" else manager.reconcile())
        elif what == "pin":
            manager.set_pinned("m", [str(n)])
        elif what == "label":
            manager.set_labels("m", {"stable": str(n)})
        elif what == "hold":
            with contextlib.suppress(SluiceError):
                held.append(manager.acquire("m", ""))
        elif held:
            held.pop().release()

    async def story(manager: Manager) -> None:
        await manager.reconcile()
        for what, n in steps:
            served = {key for key in manager.present("m") if key.isdigit()}
            await step(manager, what, n)
            for key, handle in manager.present("m").items():
                answer, version = await world.answer("m", key)
                assert (answer, version) == (int(version), handle.id.version)
                assert world.states("m")[version][0] == "READY"
            if what == "break":
                assert served <= set(manager.present("m"))
        while held:
            held.pop().release()
        await until(lambda: world.live() == len({h.id for h in manager.present("m").values()}))

    run(world, mode, story)
    world.pool.shutdown()
    assert world.live() == 0
