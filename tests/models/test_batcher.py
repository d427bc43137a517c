"""Merging, queues, deadlines and instances."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models.stand import Model, known, on_loop, signature, standing, y

from gateway.core.errors import Cancelled, Internal, InvalidArgument, SluiceError, Unavailable
from gateway.core.infer import InferRequest, Outcome
from gateway.models.pacer import Pacer

# ---- merging


@on_loop
async def test_what_queued_while_it_was_busy_runs_together_and_each_gets_its_rows() -> None:
    model = Model()
    model.hold()
    async with standing(model) as stand:
        first = stand.ask([[0]])
        await model.entered(1)
        rest = [stand.ask([[n]] * n) for n in range(1, 6)]
        model.release()
        assert y(await first) == [[0]]
        for n, future in enumerate(rest, 1):
            assert y(await future) == [[2 * n]] * n
    assert model.runs == [1, 15]
    assert {rows: batch.count for rows, batch in stand.statistics.batches.items()} == {1: 1, 15: 1}
    assert stand.statistics.executions == 2


@on_loop
async def test_a_batch_is_no_larger_than_what_pays_and_nobody_is_split() -> None:
    model = Model()
    model.hold()
    async with standing(model, limit=8) as stand:
        first = stand.ask([[0]])
        await model.entered(1)
        rest = [stand.ask([[n]] * n) for n in (3, 4, 5, 8, 20, 1)]
        model.release()
        await asyncio.gather(first, *rest)
        assert [len(y(future.result())) for future in rest] == [3, 4, 5, 8, 20, 1]
    # in order, but for those who still fit beside an older one
    assert model.runs == [1, 8, 5, 8, 20]


@on_loop
async def test_other_dimensions_are_not_merged() -> None:
    model = Model(signature(-1))
    model.hold()
    async with standing(model) as stand:
        first = stand.ask([[0]])
        await model.entered(1)
        rest = [stand.ask([[n] * width]) for n, width in enumerate([2, 3, 2, 3, 2, 4])]
        model.release()
        await asyncio.gather(first, *rest)
        assert [y(future.result()) for future in rest] == [
            [[2 * n] * width] for n, width in enumerate([2, 3, 2, 3, 2, 4])
        ]
    assert model.runs == [1, 3, 2, 1]


@on_loop
async def test_a_model_without_a_batch_axis_is_never_merged() -> None:
    model = Model(signature(batched=False))
    async with standing(model) as stand:
        outcomes = await asyncio.gather(*(stand.ask([[n]]) for n in range(6)))
        assert [y(outcome) for outcome in outcomes] == [[[2 * n]] for n in range(6)]
    assert model.runs == [1] * 6


@on_loop
async def test_one_bad_request_costs_only_itself() -> None:
    model = Model()
    model.hold()
    async with standing(model) as stand:
        first = stand.ask([[0]])
        await model.entered(1)
        rest = [stand.ask([[n]]) for n in (1, -1, 2, -2, 3)]
        model.release()
        await first
        good_1, refused, good_2, broken, good_3 = await asyncio.gather(*rest)
        assert [y(good) for good in (good_1, good_2, good_3)] == [[[2]], [[4]], [[6]]]
        assert isinstance(refused, InvalidArgument)
        assert isinstance(broken, Internal)
        assert isinstance(broken.__cause__, RuntimeError)
        assert "out of order" not in broken.message
        assert y(await stand.ask([[9]])) == [[18]]


@on_loop
async def test_each_gets_the_outputs_that_it_asked_for() -> None:
    model = Model()
    model.hold()
    async with standing(model) as stand:
        first = stand.ask([[0]])
        await model.entered(1)
        wishes = [("z",), (), ("y",), ("z", "y")]
        rest = [stand.ask([[n]], wish) for n, wish in enumerate(wishes, 1)]
        model.release()
        await first
        found = [future_outcome.outputs for future_outcome in await asyncio.gather(*rest)]  # type: ignore[union-attr]
        assert [list(outputs) for outputs in found] == [["z"], ["y", "z"], ["y"], ["z", "y"]]
        assert [outputs["z"].tolist() for outputs in found if "z" in outputs] == [[[3]], [[6]], [[12]]]
    assert model.runs == [1, 4]
    with pytest.raises(InvalidArgument, match="unexpected output 'w'"):
        stand.ask([[1]], ["w"])


# ---- instances, threads, limits


@on_loop
async def test_instances_run_side_by_side() -> None:
    model = Model()
    model.hold()
    async with standing(model, limit=1, instances=3) as stand:
        futures = [stand.ask([[n]]) for n in range(5)]
        await model.entered(3)
        assert (model.inside, stand.batcher.pending()) == (3, 2)
        model.release()
        assert [y(outcome) for outcome in await asyncio.gather(*futures)] == [[[2 * n]] for n in range(5)]
    assert model.most_inside == 3


@on_loop
async def test_closing_waits_for_what_runs_and_refuses_what_waits() -> None:
    model = Model()
    model.hold()
    async with standing(model, instances=2, limit=1) as stand:
        running = [stand.ask([[n]]) for n in (1, 2)]
        await model.entered(2)
        waiting = [stand.ask([[3]], timeout=9), stand.ask([[4]])]
        closing = asyncio.create_task(stand.batcher.close())
        assert all(isinstance(outcome, Unavailable) for outcome in await asyncio.gather(*waiting))
        with pytest.raises(Unavailable, match="being unloaded"):
            stand.ask([[5]])
        assert not closing.done()
        assert not model.closed
        model.release()
        assert [y(outcome) for outcome in await asyncio.gather(*running)] == [[[2]], [[4]]]
        await closing
        assert model.closed
    assert model.runs == [1, 1]


@on_loop
async def test_closing_one_that_is_idle() -> None:
    model = Model()
    async with standing(model):
        pass
    assert model.closed


# ---- everything at once


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "cancel", "wait", "hold", "release"]),
        st.integers(0, 9),  # rows, or whom to cancel
        st.integers(1, 3),  # columns
        st.sampled_from([1.0, 1.0, 1.0, -1.0, -2.0]),
        st.sampled_from([0.0, 0.0, 0.0005, 50.0]),
        st.sampled_from([(), ("y",), ("z", "y")]),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS, st.integers(1, 2), st.integers(0, 6), st.sampled_from([0.0, 0.001]), st.booleans())
def test_everyone_is_answered_once_and_rightly(
    operations: list[tuple[Any, ...]], instances: int, limit: int, delay: float, one_core: bool
) -> None:
    async def scenario() -> None:
        model = Model(signature(-1))
        asked: list[tuple[InferRequest, asyncio.Future[Outcome]]] = []
        refused = 0
        async with standing(
            model,
            limit=1 << limit,
            cost=known(10_000) if one_core else None,
            pacer=Pacer(0.002) if one_core else None,
            instances=instances,
            delay=delay,
            max_requests=12,
            max_bytes=900,
        ) as stand:
            for what, number, columns, value, timeout, wish in operations:
                if what == "ask":
                    request = stand.request(np.full((number, columns), value, np.float32), wish, timeout)
                    try:
                        asked.append((request, stand.send(request)))
                    except Unavailable as error:
                        assert error.message == "Exceeds maximum queue size"  # noqa: PT017
                        refused += 1
                elif what == "cancel" and asked:
                    stand.batcher.cancel(asked[number % len(asked)][0])
                elif what == "wait":
                    await asyncio.sleep(number * 0.0002)
                elif what == "hold":
                    if not one_core:  # it would hold the loop
                        model.hold()
                else:
                    model.release()
            model.release()
            outcomes = await asyncio.wait_for(asyncio.gather(*(future for _, future in asked)), 10)
            assert stand.batcher.pending() == 0
            queue = stand.batcher._backlog._queue
            assert (queue.nbytes, queue.rows) == (0, 0)
        assert {id(request) for request, _ in asked} == {id(request) for request in stand.settled}
        assert len(stand.settled) == len(asked)
        for (request, _), outcome in zip(asked, outcomes, strict=True):
            _check(request, outcome)

    asyncio.run(scenario())


def _check(request: InferRequest, outcome: Outcome) -> None:
    x = request.inputs["x"]
    if isinstance(outcome, SluiceError):
        if isinstance(outcome, InvalidArgument):
            assert (x == -1).any()
        elif isinstance(outcome, Internal):
            assert (x == -2).any()
        else:
            assert isinstance(outcome, Cancelled) or request.timeout
        return
    assert not (x < 0).any()
    assert list(outcome.outputs) == list(request.outputs or ("y", "z"))
    for name, array in outcome.outputs.items():
        assert np.array_equal(array, x * (2 if name == "y" else 3))
