"""What a connector does that it should not, and what hangs, is waited for and tried again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pipeline.plant import Doubler, Plant, on_loop, policy, until

from gateway.core.stream import Credit, Token
from gateway.pipeline.runner import Runner


class Cancelling:
    """Connectors whose driver now and then cancels what is waited for, as one does that closes a shared connection."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.cancels = 5

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def _perhaps(self) -> None:
        if self.cancels:
            self.cancels -= 1
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

    async def connect(self) -> None:
        await self._perhaps()
        await self._inner.connect()

    async def read(self, credit: Any) -> Any:
        await self._perhaps()
        return await self._inner.read(credit)

    async def ack(self, token: Any) -> None:
        await self._perhaps()
        await self._inner.ack(token)

    async def write(self, rows: Any, dead: Any = ()) -> None:
        await self._perhaps()
        await self._inner.write(rows, dead)


@pytest.mark.parametrize("side", ["input", "output", "dead"])
@on_loop
async def test_what_a_driver_cancels_is_tried_again(side: str) -> None:
    plant = Plant()
    plant.put(200, lanes=2, poison=9)
    sides: dict[str, Any] = {"input": plant.input(), "output": plant.output(), "dead": plant.graveyard()}
    cancelling = sides[side] = Cancelling(sides[side])
    await Runner(plant.name, *sides.values(), Doubler(), policy(rows=10)).run()
    assert not cancelling.cancels
    assert plant.verdict().sound


@on_loop
async def test_an_error_that_no_adapter_should_raise_is_waited_for_like_others() -> None:
    plant = Plant()
    plant.put(40)
    scorer = Doubler()
    broken = [ZeroDivisionError("oops"), KeyError("x")]

    async def before() -> None:
        if broken:
            raise broken.pop()

    scorer.before = before
    runner = plant.runner(policy(rows=10), scorer)
    await runner.run()
    assert plant.verdict().exact
    assert runner.status().state == "finished"


class Hanging:
    """A connector of a system that takes connections, and says nothing."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.source = inner.source
        self.hangs = True
        self.closed = 0

    async def connect(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        await self._inner.connect()

    async def read(self, credit: Credit) -> Any:
        return await self._inner.read(credit)

    async def ack(self, token: Token) -> None:
        await self._inner.ack(token)

    async def close(self) -> None:
        self.closed += 1
        await self._inner.close()


@on_loop
async def test_a_connection_that_hangs_keeps_nobody_from_stopping() -> None:
    plant = Plant()
    source = Hanging(plant.input())
    runner = Runner(plant.name, source, plant.output(), plant.graveyard(), Doubler(), policy())
    task = asyncio.ensure_future(runner.run())
    await asyncio.sleep(0.02)
    runner.drain(0)
    await asyncio.wait_for(task, 5)
    assert source.closed == 1


@on_loop
async def test_a_connection_that_hangs_is_tried_again() -> None:
    plant = Plant()
    plant.put(10)
    source = Hanging(plant.input())
    errors = {"stalled": 0.02}
    runner = Runner(plant.name, source, plant.output(), plant.graveyard(), Doubler(), policy(errors=errors))
    task = asyncio.ensure_future(runner.run())
    await until(lambda: runner.status().retries >= 2)
    assert runner.status().reason == "input: no connection within 0.02 s"
    source.hangs = False
    await task
    assert plant.verdict().exact
