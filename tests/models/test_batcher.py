"""Merging, queues, deadlines and instances."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models.stand import Model, known, on_loop, signature, standing, y

from gateway.core.errors import Cancelled, Internal, InvalidArgument, SluiceError, Unavailable
from gateway.core.infer import InferRequest, InferResponse, Outcome
from gateway.core.tensor import STRING
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


@on_loop
async def test_clients_that_were_answered_together_come_back_together() -> None:
    """Without a moment to come back in, eight clients in step make batches of 1 and 7, over and over."""
    model = Model()
    model.seconds = 0.02
    async with standing(model) as stand:

        async def client() -> None:
            for _ in range(12):
                await stand.ask([[1]])

        await asyncio.gather(*(client() for _ in range(8)))
    assert sum(model.runs) == 96
    assert len(model.runs) <= 16


# ---- the delay that a config may ask for


@on_loop
async def test_a_batch_waits_to_fill_up_only_where_it_is_told_to() -> None:
    model = Model()
    async with standing(model, delay=0.15) as stand:
        began = time.perf_counter()
        first = stand.ask([[1]])
        await asyncio.sleep(0.02)
        second = stand.ask([[2]])
        assert [y(outcome) for outcome in await asyncio.gather(first, second)] == [[[2]], [[4]]]
        assert 0.14 < time.perf_counter() - began < 0.6
    assert model.runs == [2]
    model = Model()
    async with standing(model) as stand:
        began = time.perf_counter()
        await stand.ask([[1]])
        assert time.perf_counter() - began < 0.1


@on_loop
async def test_a_full_batch_does_not_wait() -> None:
    model = Model()
    async with standing(model, most=4, delay=5.0) as stand:
        began = time.perf_counter()
        await asyncio.gather(*(stand.ask([[n]]) for n in range(4)))
        assert time.perf_counter() - began < 1
        # nor does closing
        last = stand.ask([[1]])
    assert isinstance(await last, (Unavailable, InferResponse))
    assert time.perf_counter() - began < 1
    assert model.runs[0] == 4


# ---- the queue


@on_loop
async def test_what_expired_in_the_queue_never_runs() -> None:
    model = Model()
    model.hold()
    async with standing(model) as stand:
        first = stand.ask([[0]])
        await model.entered(1)
        began = time.perf_counter()
        late, patient, soon = stand.ask([[1]], timeout=0.05), stand.ask([[2]], timeout=60), stand.ask([[3]])
        outcome = await late
        assert isinstance(outcome, Unavailable)
        assert outcome.message == "Request timeout expired"
        assert 0.04 < time.perf_counter() - began < 0.5
        assert stand.batcher.pending() == 2
        model.release()
        assert [y(outcome) for outcome in await asyncio.gather(first, patient, soon)] == [[[0]], [[4]], [[6]]]
    assert model.runs == [1, 2]


@on_loop
async def test_what_expired_is_not_run_even_if_the_loop_had_no_time_to_say_so() -> None:
    model = Model()
    model.hold()
    async with standing(model) as stand:
        first = stand.ask([[0]])
        await model.entered(1)
        late = stand.ask([[1]], timeout=0.02)
        # the loop stands still until after the deadline, and the worker goes on
        time.sleep(0.03)  # noqa: ASYNC251
        model.release()
        time.sleep(0.05)  # noqa: ASYNC251
        assert isinstance(await late, Unavailable)
        await first
    assert model.runs == [1]


@on_loop
async def test_the_models_own_time_out_may_be_shortened_and_not_lengthened() -> None:
    for allowed, wish, waits in ((True, 0.02, 0.02), (True, 9, 0.1), (False, 0.001, 0.1)):
        model = Model()
        model.hold()
        async with standing(model, timeout=0.1, allow_timeout=allowed) as stand:
            stand.ask([[0]])
            await model.entered(1)
            began = time.perf_counter()
            assert isinstance(await stand.ask([[1]], timeout=wish), Unavailable)
            assert waits * 0.9 < time.perf_counter() - began < waits + 0.06


@on_loop
async def test_cancelled_in_the_queue() -> None:
    model = Model()
    model.hold()
    async with standing(model) as stand:
        running = stand.request([[0]])
        first = stand.send(running)
        await model.entered(1)
        waiting = stand.request([[1]])
        gone, stays = stand.send(waiting), stand.ask([[2]])
        stand.batcher.cancel(waiting)
        assert isinstance(gone.result(), Cancelled)
        stand.batcher.cancel(waiting)
        # one that runs is not stopped
        stand.batcher.cancel(running)
        assert stand.batcher.pending() == 1
        model.release()
        assert [y(await first), y(await stays)] == [[[0]], [[4]]]
        stand.batcher.cancel(running)
    assert model.runs == [1, 1]
    assert len(stand.settled) == 3


@on_loop
async def test_a_queue_holds_so_many_requests() -> None:
    model = Model()
    model.hold()
    async with standing(model, max_requests=3) as stand:
        taken = [stand.ask([[0]])]
        await model.entered(1)
        taken += [stand.ask([[n]]) for n in range(3)]
        with pytest.raises(Unavailable, match="Exceeds maximum queue size") as refused:
            stand.ask([[4]])
        assert 1 <= (refused.value.retry_after or 0) <= 60
        model.release()
        assert all(isinstance(outcome, InferResponse) for outcome in await asyncio.gather(*taken))
        await stand.ask([[4]])


@on_loop
async def test_a_queue_holds_so_many_bytes_and_counts_those_of_strings() -> None:
    for takes, row in (
        (signature(), np.zeros((25_000, 1), np.float32)),
        (signature(datatype="BYTES"), np.array([["a" * 100_000]], STRING)),
    ):
        model = Model(takes)
        model.hold()
        async with standing(model, max_bytes=350_000) as stand:
            taken = [stand.ask(row)]
            await model.entered(1)
            taken += [stand.ask(row) for _ in range(3)]
            with pytest.raises(Unavailable, match="Exceeds maximum queue size"):
                stand.ask(row)
            model.release()
            await asyncio.gather(*taken)
            await asyncio.gather(*(stand.ask(row) for _ in range(3)))


@on_loop
async def test_an_answered_request_is_forgotten_though_its_deadline_is_far() -> None:
    model = Model()
    async with standing(model) as stand:
        gone = []
        for values in ([[1]], [[-1]]):
            request = stand.request(values, timeout=1e9)
            gone.append(weakref.ref(request))
            await stand.send(request)
        model.hold()
        held = stand.ask([[0]])
        await model.entered(3)
        request = stand.request([[1]], timeout=1e9)
        gone.append(weakref.ref(request))
        cancelled = stand.send(request)
        stand.batcher.cancel(request)
        await cancelled
        model.release()
        await held
        stand.settled.clear()
        del request
        gc.disable()
        try:
            # of the last run the worker lets go when it takes the next one
            await stand.ask([[0]])
            stand.settled.clear()
            for _ in range(100):
                if not any(ref() for ref in gone):
                    break
                await asyncio.sleep(0.01)
            assert [ref() for ref in gone] == [None, None, None]
        finally:
            gc.enable()


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
