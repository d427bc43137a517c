"""What waits for a model: for how long, how much of it, and who withdraws."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

import numpy as np
import pytest
from models.stand import Model, on_loop, signature, standing, y

from gateway.core.errors import Cancelled, Unavailable
from gateway.core.infer import InferResponse
from gateway.core.tensor import STRING
from gateway.models.backlog import Backlog


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


@on_loop
async def test_one_that_was_alone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    wait = Backlog._wait

    def noted(self: Backlog, rows: int, seconds: float) -> None:
        waits.append(seconds)
        wait(self, rows, seconds)

    monkeypatch.setattr(Backlog, "_wait", noted)
    model = Model()
    model.seconds = 0.01
    async with standing(model) as stand:
        for _ in range(5):
            await stand.ask([[1], [2]])
    assert model.runs == [2] * 5
    assert not waits


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
