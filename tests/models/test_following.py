from __future__ import annotations

import asyncio

import pytest
from models.world import READY, World, run, until

from gateway.core.errors import NotFound, Unavailable
from gateway.models.manager import Engine, Manager, Mode
from gateway.models.repository import Repository


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
