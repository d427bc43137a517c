"""How much is in flight, and what is scored together."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline.plant import Doubler, Plant, on_loop, policy, until

from adapters.memory import Faults
from gateway.core.stream import Batch, Credit, Message, Source, Token
from gateway.pipeline.flow import Flow
from gateway.pipeline.policy import Batching
from gateway.pipeline.runner import Runner


def credit(flow: Flow, most: int) -> Credit | None:
    """What there is now; None: it would wait."""
    return asyncio.run(flow.credit(most)) if flow.free(most) else None


def test_credit_is_what_is_left() -> None:
    flow = Flow(Batching(rows_in_flight=100, bytes_in_flight=1000))
    assert credit(flow, 30) == Credit(30, 1000)
    flow.take(60, 400)
    assert credit(flow, 30) == Credit(30, 600)
    assert credit(flow, 40) == Credit(40, 600)
    flow.take(40, 10)
    assert credit(flow, 30) is None
    flow.give(60, 400)
    assert credit(flow, 300) == Credit(60, 990)


def test_it_waits_for_room_for_a_whole_batch_or_half_of_all() -> None:
    flow = Flow(Batching(rows_in_flight=100))
    flow.take(80, 1)
    assert credit(flow, 30) is None
    assert credit(flow, 20) is not None
    flow.take(20, 1)
    flow.give(49, 1)
    assert credit(flow, 100) is None
    flow.give(1, 1)
    assert credit(flow, 100) is not None


@on_loop
async def test_batches_that_became_one_make_room() -> None:
    flow = Flow(Batching(), depth=2)
    flow.take(1, 1)
    flow.take(1, 1)
    waiting = asyncio.ensure_future(flow.credit(5))
    await asyncio.sleep(0)
    flow.merge(2)
    assert (await waiting).rows == 5


def test_what_is_larger_than_all_credit_passes_alone() -> None:
    flow = Flow(Batching(rows_in_flight=100, bytes_in_flight=1000))
    flow.take(1, 10_000_000)
    assert credit(flow, 30) is None
    flow.give(1, 10_000_000)
    assert credit(flow, 30) == Credit(30, 1000)


def test_a_depth_limits_the_batches() -> None:
    flow = Flow(Batching(), depth=2)
    flow.take(1, 1)
    flow.take(1, 1)
    assert credit(flow, 5) is None
    flow.merge(2)
    assert credit(flow, 5) is not None


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 500)), max_size=50))
def test_it_never_gives_more_than_there_is(batches: list[tuple[int, int]]) -> None:
    flow = Flow(Batching(rows_in_flight=100, bytes_in_flight=1000))
    taken: list[tuple[int, int]] = []
    for rows, nbytes in batches:
        found = credit(flow, 50)
        if found is None:
            flow.give(*taken.pop(0))
            continue
        rows = min(rows, found.rows)
        flow.take(rows, nbytes)
        taken.append((rows, nbytes))
        assert flow.rows == sum(r for r, _ in taken) <= 100
        assert flow.nbytes - nbytes < 1000


@on_loop
async def test_with_an_output_that_stands_still_little_is_read_and_memory_is_flat() -> None:
    plant = Plant(ends=False, capacity=100)
    value = b'{"x": 1, "padding": "%b"}' % (b"y" * 1000)
    # one value many times: what the pipeline holds of it is what grows
    plant.source.put(Message(f"r{n}", value) for n in range(200_000))
    runner = plant.runner(policy(rows=100, rows_in_flight=500))
    task = asyncio.ensure_future(runner.run())
    await until(lambda: runner.status().retries > 3)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    retries = runner.status().retries
    await until(lambda: runner.status().retries > retries + 50)
    assert tracemalloc.get_traced_memory()[0] - before < 100_000
    tracemalloc.stop()
    status = runner.status()
    assert (status.read, status.in_flight, status.acknowledged) == (600, 500, 100)
    assert status.state == "waiting"
    assert status.reason == f"output: topic '{plant.sink.name}' is full, it holds 100 records"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@on_loop
async def test_bytes_limit_what_is_in_flight_but_for_the_record_that_exceeds_them() -> None:
    plant = Plant(writing=Faults(delay=0.001))
    sizes = [10, 5000, 10, 10, 100_000, 10]
    for n, size in enumerate(sizes):
        entry = plant.ledger.produce(f"r{n}", "k", [float(n)])
        plant.source.put([Message(entry.id, b'{"x": %d, "p": "%b"}' % (n, b"y" * size))])
    runner = plant.runner(policy(bytes_in_flight=6000))
    most = 0

    async def watch() -> None:
        nonlocal most
        if runner.status().in_flight > 1:
            most = max(most, runner.status().in_flight_bytes)

    plant.scorer.before = watch
    await runner.run()
    assert plant.verdict().exact
    assert 6000 < most < 6000 + 100_100


@on_loop
async def test_batches_that_wait_are_scored_together() -> None:
    plant = Plant(ends=False)
    scorer = Doubler()
    gate = asyncio.Event()
    scorer.before = gate.wait  # type: ignore[assignment]
    runner = plant.runner(policy(rows=30), scorer)
    task = asyncio.ensure_future(runner.run())
    for _ in range(8):
        plant.put(10)
        await until(lambda: runner.status().read == len(plant.ledger.entries))
    gate.set()
    await until(lambda: runner.status().acknowledged == 80)
    assert scorer.batches[0] == 10  # nobody waited for company
    assert scorer.batches[1:] == [30, 30, 10]
    runner.drain()
    await task
    assert plant.verdict().exact


@on_loop
async def test_linger_gathers_until_a_batch_is_full_or_its_time_is_up() -> None:
    plant = Plant(ends=False)
    scorer = Doubler()
    runner = plant.runner(policy(rows=30, linger=0.2), scorer)
    task = asyncio.ensure_future(runner.run())
    begin = asyncio.get_running_loop().time()
    for _ in range(3):
        plant.put(10)
        await until(lambda: runner.status().read == len(plant.ledger.entries))
    await until(lambda: runner.status().acknowledged == 30)
    assert scorer.batches == [30]  # full: it did not wait for its time
    assert asyncio.get_running_loop().time() - begin < 5
    plant.put(5)
    await until(lambda: runner.status().acknowledged == 35)
    assert asyncio.get_running_loop().time() - begin >= 0.2
    runner.drain()
    await task


@on_loop
async def test_linger_waits_for_nothing_that_cannot_come() -> None:
    plant = Plant()
    plant.put(10)
    # no credit for more, and then the end of the input
    async with asyncio.timeout(10):
        await plant.runner(policy(rows=30, linger=100.0, rows_in_flight=5)).run()
    assert plant.verdict().exact


class Claiming:
    """An input with one batch at a time, as a table whose rows are claimed in a transaction is."""

    def __init__(self, inner: Any, depth: int) -> None:
        self._inner = inner
        self.source = Source(inner.source.name, depth=depth)
        self.open = 0
        self.most = 0

    async def connect(self) -> None:
        await self._inner.connect()

    async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
        found: tuple[Batch, Token] | None = await self._inner.read(credit)
        if found is not None:
            self.open += 1
            self.most = max(self.most, self.open)
        return found

    async def ack(self, token: Token) -> None:
        await self._inner.ack(token)
        self.open -= 1

    async def close(self) -> None:
        await self._inner.close()


@pytest.mark.parametrize("depth", [1, 3])
@on_loop
async def test_no_more_batches_are_read_than_the_input_can_hold(depth: int) -> None:
    plant = Plant()
    plant.put(100)
    source = Claiming(plant.input(), depth)
    await Runner(plant.name, source, plant.output(), plant.graveyard(), Doubler(), policy(rows=10)).run()
    assert plant.verdict().exact
    assert source.most == depth


@pytest.mark.parametrize(("ahead", "most"), [(0, 1), (1, 2), (3, 4)])
@on_loop
async def test_so_many_batches_are_scored_ahead_of_the_one_that_is_written(ahead: int, most: int) -> None:
    plant = Plant(ends=False, writing=Faults(write=1.0))
    plant.put(100)
    scorer = Doubler()
    runner = plant.runner(policy(rows=10, ahead=ahead), scorer)
    task = asyncio.ensure_future(runner.run())
    await until(lambda: runner.status().retries > 20)
    assert len(scorer.batches) == most
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@on_loop
async def test_lanes_that_are_idle_cost_nothing() -> None:
    plant = Plant(ends=False)
    runner = plant.runner(policy())
    task = asyncio.ensure_future(runner.run())
    await until(lambda: runner.status().state == "running")
    tasks = len(asyncio.all_tasks())
    for n in range(300):
        plant.source.put([Message(f"m{n}", b'{"x": 1}')], f"file-{n}")
    await until(lambda: runner.status().acknowledged == 300)
    assert runner.status().lanes == 0
    assert len(asyncio.all_tasks()) <= tasks
    runner.drain()
    await task
