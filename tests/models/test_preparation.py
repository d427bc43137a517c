from __future__ import annotations

import asyncio

import pytest
from models.world import READY, World, run, until

from gateway.core.errors import InvalidArgument
from gateway.models.manager import Manager


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
