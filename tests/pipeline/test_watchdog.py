"""A stream that gets nowhere is connected again; one that waits for good reason is left alone."""

from __future__ import annotations

import asyncio
from typing import Any

from pipeline.plant import Doubler, Plant, on_loop, policy, running, until

from adapters.memory import Faults
from gateway.pipeline.runner import Runner


class Stuck:
    """An output whose writes never end, for one lane."""

    def __init__(self, inner: Any, lane: str) -> None:
        self._inner = inner
        self._lane = lane
        self.sink = inner.sink
        self.stuck = True
        self.connects = 0

    async def connect(self) -> None:
        self.connects += 1
        await self._inner.connect()

    async def write(self, rows: Any, dead: Any = ()) -> None:
        if self.stuck and rows.source.lane.endswith(self._lane):
            await asyncio.Event().wait()
        await self._inner.write(rows, dead)

    async def close(self) -> None:
        await self._inner.close()


@on_loop
async def test_a_lane_that_gets_nowhere_has_both_sides_connected_again_less_and_less_often() -> None:
    plant = Plant(ends=False)
    output = Stuck(plant.output(), "/1")
    errors = {"stalled": 0.02, "settle": 0.01}
    runner = Runner(plant.name, plant.input(), output, plant.graveyard(), Doubler(), policy(rows=10, errors=errors))
    async with running(runner):
        plant.put(50, lanes=2)
        for _ in range(200):  # the other lane gets on all the time
            plant.source.put([], "0")
            await asyncio.sleep(0.001)
            if output.connects >= 4:
                break
        assert 3 <= output.connects <= 6
        output.stuck = False
        await until(lambda: len(plant.results()) == 50)
    assert plant.verdict().exact


@on_loop
async def test_a_slow_model_is_given_its_time() -> None:
    plant = Plant()
    plant.put(20)
    scorer = Doubler()
    scorer.before = lambda: asyncio.sleep(0.2)
    runner = plant.runner(policy(rows=10, errors={"stalled": 0.02}), scorer)
    await runner.run()
    assert plant.verdict().exact
    assert runner.status().reconnects == 0


@on_loop
async def test_no_progress_without_work_is_no_stall() -> None:
    plant = Plant(ends=False)
    plant.put(10)
    runner = plant.runner(policy(errors={"stalled": 0.02}))
    async with running(runner):
        await until(lambda: runner.status().acknowledged == 10)
        await asyncio.sleep(0.2)
        assert runner.status().reconnects == 0


@on_loop
async def test_lag_is_that_of_the_input() -> None:
    plant = Plant(ends=False, writing=Faults(write=1.0))
    plant.put(70, lanes=2)
    runner = plant.runner(policy(rows=10, rows_in_flight=20))
    task = asyncio.ensure_future(runner.run())
    await until(lambda: bool(runner.status().lag))
    assert sum(lag.records or 0 for lag in runner.status().lag.values()) == 70
    await until(lambda: runner.status().in_flight == 20)
    assert (runner.status().oldest or 0) > 0
    assert runner.status().progress is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
