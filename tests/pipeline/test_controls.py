"""Two workers on one lane, and workers that die; and the same with a pipeline that is wrong on purpose: were the
oracle to find nothing there, it would prove nothing elsewhere."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from oracle import Verdict
from pipeline.plant import Plant, on_loop, policy, until

from adapters.memory import Faults, MemoryOutput, Topic
from gateway.core.stream import Rows, Token
from gateway.pipeline.delivery import Delivery, Part
from gateway.pipeline.session import Session

SEEDS = range(6)


async def dying(plant: Plant, seed: int) -> Verdict:
    """Workers one after the other that die at some moment with records in flight, and one that ends."""
    chance = random.Random(seed)
    plant.put(400, keys=7, poison=13)
    for _ in range(12):
        runner = plant.runner(policy(rows=10, rows_in_flight=60))
        task = asyncio.ensure_future(runner.run())
        await until(lambda runner=runner, task=task: runner.status().in_flight > 0 or task.done())  # type: ignore[misc]
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await plant.runner(policy(rows=10)).run()
    return plant.verdict()


async def fighting(plant: Plant) -> Verdict:
    """A second worker takes the lane from the first, which does not know it yet."""
    plant.put(400, keys=7, poison=13)
    first = plant.runner(policy(rows=10))
    old = asyncio.ensure_future(first.run())
    await until(lambda: first.status().written > 30)
    second = plant.runner(policy(rows=10))
    new = asyncio.ensure_future(second.run())
    await until(lambda: second.status().acknowledged > 30)
    await until(lambda: new.done() or second.status().acknowledged > 200)
    old.cancel()
    await asyncio.gather(old, return_exceptions=True)
    await new
    return plant.verdict()


def slow(ability: str) -> Plant:
    return Plant(ability=ability, dead_letters=True, writing=Faults(delay=0.0005))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ability", ["plain", "idempotent", "stores_offsets", "transactional"])
@on_loop
async def test_workers_that_die_lose_nothing(ability: str, seed: int) -> None:
    verdict = await dying(slow(ability), seed)
    assert verdict.exact if ability != "plain" else verdict.sound, verdict


@pytest.mark.parametrize("ability", ["stores_offsets", "transactional"])
@on_loop
async def test_two_workers_on_one_lane_write_nothing_twice(ability: str) -> None:
    assert (await fighting(slow(ability))).exact


# ---- pipelines that are wrong on purpose


async def worst(monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], None], ability: str) -> Verdict:
    """Of several runs the first that is not exact."""
    change(monkeypatch)
    for seed in range(20):
        verdict = await dying(slow(ability), seed)
        if not verdict.exact:
            return verdict
    return verdict


def acknowledging_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token goes back before the write."""
    deliver = Session.deliver

    async def early(self: Session, part: Part) -> None:
        for token in part.flight.tokens:
            await self._pipeline.input.ack(token)
        await deliver(self, part)

    monkeypatch.setattr(Session, "deliver", early)


@on_loop
async def test_acknowledging_before_the_write_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await worst(monkeypatch, acknowledging_first, "plain")).lost


def going_past_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that could not be written is forgotten; a later one of its lane is acknowledged."""
    write = Delivery._attempt
    chance = random.Random(1)

    async def lossy(self: Delivery, part: Part, *rest: Any) -> None:
        if chance.random() < 0.1:
            return
        await write(self, part, *rest)

    monkeypatch.setattr(Delivery, "_attempt", lossy)


@on_loop
async def test_committing_past_what_failed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await worst(monkeypatch, going_past_what_failed, "plain")).lost


def storing_the_position_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results first, their position in a step of its own."""

    async def apart(self: MemoryOutput, rows: Rows, dead: Any = ()) -> None:
        self._topic.append(rows.batch, "0")
        self._topic.letters.extend(dead)
        await asyncio.sleep(0)
        self._topic.store(self._context.pipeline, rows.source)

    monkeypatch.setattr(MemoryOutput, "write", apart)


@on_loop
async def test_a_position_that_is_not_in_the_results_transaction_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await worst(monkeypatch, storing_the_position_apart, "stores_offsets")).duplicates


@on_loop
async def test_an_epoch_that_nobody_looks_at_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(self: Topic, pipeline: str, token: Token) -> None:
        epoch, position = self.owners.get((pipeline, token.lane), (0, None))
        self.owners[pipeline, token.lane] = epoch, max(position or 0, token.position)

    monkeypatch.setattr(Topic, "store", blind)
    assert (await fighting(slow("stores_offsets"))).duplicates
