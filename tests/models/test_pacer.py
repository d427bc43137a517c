"""A queue that the event loop works off: what runs there, how long a turn is, and when a thread takes over."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
from models.stand import Model, known, on_loop, standing, y

from gateway.core.errors import Internal, InvalidArgument, Unavailable
from gateway.models.pacer import Pacer

MILLISECOND = 1e6  # nanoseconds


def one_core(cost: float = 1 * MILLISECOND, limit: int = 1) -> dict[str, Any]:
    """A stand whose model is known to cost so many nanoseconds, and whose batches pay up to `limit` rows."""
    return {"cost": known(cost), "limit": limit, "pacer": Pacer(0.002)}


@on_loop
async def test_brief_runs_are_the_loops_and_in_order() -> None:
    model = Model()
    async with standing(model, **one_core()) as stand:
        futures = [stand.ask([[value]]) for value in range(20)]
        assert not any(future.done() for future in futures)
        assert [y(outcome) for outcome in await asyncio.gather(*futures)] == [[[2 * value]] for value in range(20)]
    assert set(model.threads) == {threading.get_ident()}
    assert model.runs == [1] * 20


@on_loop
async def test_a_turn_ends_and_others_are_heard_between_two() -> None:
    model = Model()
    model.seconds = 0.0015
    async with standing(model, **one_core()) as stand:
        futures = [stand.ask([[value]]) for value in range(12)]
        seen = []
        while not futures[-1].done():
            await asyncio.sleep(0)
            seen.append(sum(future.done() for future in futures))
        steps = [after - before for before, after in zip([0, *seen], seen, strict=False)]
        assert max(steps) <= 4
        assert sum(step > 0 for step in steps) >= 3


@on_loop
async def test_models_take_turns() -> None:
    pacer = Pacer(0.002)
    order: list[str] = []
    models = {"one": Model(), "other": Model()}
    async with AsyncExitStack() as stack:
        asked = []
        for name, model in models.items():
            model.seconds = 0.005
            stand = await stack.enter_async_context(standing(model, **{**one_core(), "pacer": pacer}))
            for value in range(3):
                asked.append(stand.ask([[value]]))
                asked[-1].add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
        await asyncio.gather(*asked)
    assert order == ["one", "other"] * 3


@pytest.mark.parametrize(
    "stand", [one_core(cost=3 * MILLISECOND), one_core(limit=8), {**one_core(), "run_limit": 0.0, "delay": 0.0001}]
)
@on_loop
async def test_what_is_long_or_gains_by_batches_or_waits_for_one_has_a_thread(stand: dict[str, Any]) -> None:
    model = Model()
    async with standing(model, **stand) as standing_:
        assert y(await standing_.ask([[1]])) == [[2]]
    assert threading.get_ident() not in model.threads


@on_loop
async def test_what_turns_out_to_be_long_goes_to_a_thread_and_comes_back() -> None:
    model = Model()
    async with standing(model, **one_core()) as stand:
        model.seconds = 0.02
        futures = [stand.ask([[value]]) for value in range(100)]
        await asyncio.gather(*futures[:50])
        assert threading.get_ident() not in model.threads[30:50]
        model.seconds = 0.0005
        await asyncio.gather(*futures)
    assert model.threads[-1] == threading.get_ident()
    assert [y(future.result()) for future in futures] == [[[2 * value]] for value in range(100)]


@on_loop
async def test_a_bad_one_costs_only_itself() -> None:
    async with standing(Model(), **one_core(limit=2)) as stand:
        futures = [stand.ask([[value]]) for value in (1, -1, 2, -2, 3)]
        one, refused, two, broken, three = await asyncio.gather(*futures)
        assert [y(outcome) for outcome in (one, two, three)] == [[[2]], [[4]], [[6]]]
        assert isinstance(refused, InvalidArgument)
        assert isinstance(broken, Internal)


@on_loop
async def test_what_waits_for_its_turn_can_be_cancelled_expire_and_be_refused() -> None:
    model = Model()
    async with standing(model, max_requests=3, **one_core()) as stand:
        gone, late, kept = stand.request([[1]]), stand.request([[2]], timeout=0.001), stand.request([[3]])
        futures = [stand.send(request) for request in (gone, late, kept)]
        with pytest.raises(Unavailable, match="maximum queue size"):
            stand.ask([[4]])
        stand.batcher.cancel(gone)
        time.sleep(0.005)  # noqa: ASYNC251 - the loop has no time to say so
        cancelled, expired, outcome = await asyncio.gather(*futures)
        assert "went away" in cancelled.message  # type: ignore[union-attr]
        assert "expired" in expired.message  # type: ignore[union-attr]
        assert y(outcome) == [[6]]
    assert model.runs == [1]


@on_loop
async def test_closing_refuses_what_waits() -> None:
    model = Model()
    async with standing(model, **one_core()) as stand:
        futures = [stand.ask([[value]]) for value in range(5)]
        await stand.batcher.close()
        assert all(isinstance(outcome, Unavailable) for outcome in await asyncio.gather(*futures))
    assert model.runs == []


@on_loop
async def test_work_that_fails_keeps_its_turns_and_is_told() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    pacer, left = Pacer(0.002), [RuntimeError("first"), None, None]
    done = asyncio.Event()

    def work(_pacer: Pacer, _until: int) -> bool:
        if (error := left.pop(0)) is not None:
            raise error
        if not left:
            done.set()
        return bool(left)

    pacer.add(work)
    await done.wait()
    assert [str(context["exception"]) for context in told] == ["first"]
