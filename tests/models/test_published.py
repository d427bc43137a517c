from __future__ import annotations

import asyncio

import pytest
from models.world import READY, World, run, until

from gateway.core.errors import Unavailable
from gateway.models.manager import Manager


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
