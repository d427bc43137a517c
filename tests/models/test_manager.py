from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models.world import READY, World, run, until

from gateway.core.errors import InvalidArgument, NotFound, SluiceError, Unavailable
from gateway.core.infer import InferRequest
from gateway.core.observe import Statistics
from gateway.core.servable import Servable
from gateway.dataplane import Dataplane
from gateway.models.batcher import Batcher
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.config import ModelConfig, VersionPolicy
from gateway.models.cost import Cost, Growth
from gateway.models.manager import Engine, Handle, Manager, Mode
from gateway.models.repository import Repository
from gateway.routing.split import Splits


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
