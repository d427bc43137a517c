"""Writing: what the output refuses, what is not there, what is in doubt, and where the dead letters go."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline.plant import Doubler, Plant, on_loop, policy, until

from adapters.memory import Faults, MemoryOutput
from gateway.core import letter
from gateway.core.errors import TooLarge
from gateway.core.stream import (
    Batch,
    DataError,
    DeadLetter,
    Fenced,
    Message,
    OutcomeUnknown,
    Rows,
    Token,
    Transient,
)
from gateway.pipeline.delivery import split
from gateway.pipeline.flight import Flight
from gateway.pipeline.runner import Runner
from gateway.pipeline.scoring.scored import Scored


class Scripted:
    """The output of a plant, with errors before its writes. `calls`: rows and dead letters of each write."""

    def __init__(self, inner: Any, *errors: Exception | None, after: bool = False) -> None:
        self._inner = inner
        self._errors = list(errors)
        self._after = after
        self.calls: list[tuple[list[str], list[str]]] = []
        self.connects = 0
        self.sink = inner.sink

    async def connect(self) -> None:
        self.connects += 1
        await self._inner.connect()

    async def take_over(self, lane: str) -> Any:
        return await self._inner.take_over(lane)

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        self.calls.append((list(rows.batch.ids), [one.message.id for one in dead]))
        error = self._errors.pop(0) if self._errors else None
        if error is not None and self._after:
            await self._inner.write(rows, dead)
        if error is not None:
            raise error
        await self._inner.write(rows, dead)

    async def close(self) -> None:
        await self._inner.close()


def scripted(
    plant: Plant, *errors: Exception | None, after: bool = False, lanes: int = 1, **batching: Any
) -> tuple[Runner, Scripted]:
    output = Scripted(plant.output(), *errors, after=after)
    runner = Runner(
        plant.name, plant.input(output), output, None if plant.dead_letters else plant.graveyard(), plant.scorer,
        policy(lanes, **batching),
    )  # fmt: skip
    return runner, output


@on_loop
async def test_a_row_that_the_output_names_costs_only_itself() -> None:
    plant = Plant(writing=Faults(refuse='"r7"'))
    plant.put(20)
    await plant.runner(policy(rows=20)).run()
    assert plant.buried() == ["r7"]
    assert plant.reasons()["r7"] == "it has '\"r7\"' in it"
    assert [result.id for result in plant.results()] == [f"r{n}" for n in range(20) if n != 7]


@on_loop
async def test_a_row_that_it_does_not_name_is_found_by_halves() -> None:
    plant = Plant()
    plant.writing = Faults(refuse='"r700"', anonymous=True)
    plant.put(1000)
    runner, output = scripted(plant, rows=1000)
    await runner.run()
    assert plant.buried() == ["r700"]
    assert len(plant.results()) == 999
    assert [result.id for result in plant.results()] == [f"r{n}" for n in range(1000) if n != 700]
    assert len(output.calls) <= 2 * 10 + 1


@pytest.mark.parametrize("ability", ["stores_offsets", "transactional"])
@on_loop
async def test_where_a_write_moves_the_position_the_batch_is_read_again_in_halves(ability: str) -> None:
    plant = Plant(ability=ability, dead_letters=True, writing=Faults(refuse='"r70"', anonymous=True))
    plant.put(100)
    runner, output = scripted(plant, rows=100)
    await runner.run()
    assert plant.buried() == ["r70"]
    assert [result.id for result in plant.results()] == [f"r{n}" for n in range(100) if n != 70]
    # no part of a batch was written without the rest
    written = Counter(name for names, _ in output.calls for name in names)
    assert max(len(names) for names, _ in output.calls) == 100
    assert written["r0"] <= 8
    assert runner.status().reconnects


@pytest.mark.parametrize("error", [TooLarge("it is too large"), DataError("no", 99), DataError("no", -7)])
@on_loop
async def test_whatever_says_that_a_record_is_at_fault(error: Exception) -> None:
    plant = Plant()
    plant.put(1)
    runner, _ = scripted(plant, error)
    await runner.run()
    assert plant.buried() == ["r0"]


@on_loop
async def test_what_is_not_there_is_waited_for_and_only_that_is_connected_again() -> None:
    plant = Plant()
    plant.put(50)
    runner, output = scripted(plant, *[Transient("the network is away")] * 4, rows=10)
    await runner.run()
    assert plant.verdict().exact
    status = runner.status()
    assert (status.retries, status.reconnects, output.connects) == (4, 4, 5)
    assert status.dropped == 0  # the batch was kept, and the input not asked again


@pytest.mark.parametrize("ability", ["stores_offsets", "transactional"])
@on_loop
async def test_where_a_write_moves_the_position_it_is_read_again(ability: str) -> None:
    plant = Plant(ability=ability, dead_letters=True)
    plant.put(50, poison=10)
    runner, output = scripted(plant, Transient("serialisation failure"), None, Transient("deadlock"), rows=10)
    await runner.run()
    assert plant.verdict().exact
    assert runner.status().dropped >= 20
    assert all(len(dead) == 1 for _, dead in output.calls)


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("ability", ["plain", "idempotent", "stores_offsets", "transactional"])
@on_loop
async def test_a_write_in_doubt_is_never_repeated_from_memory(ability: str, written: bool) -> None:
    plant = Plant(ability=ability)
    plant.put(50)
    runner, _ = scripted(plant, None, OutcomeUnknown("no answer to COMMIT"), after=written, rows=10, ahead=0)
    await runner.run()
    verdict = plant.verdict()
    assert verdict.sound
    # what appends cannot know; whoever stores the position, or the id, does
    assert verdict.duplicates == (10 if written and ability == "plain" else 0)


@on_loop
async def test_what_was_written_and_not_acknowledged_is_not_written_again() -> None:
    plant = Plant(reading=Faults(seed=3, acknowledge=0.5))
    plant.put(200)
    runner = plant.runner(policy(rows=10))
    await runner.run()
    assert plant.verdict().exact
    assert runner.status().suppressed > 0
    # of a batch that was written, all of it, nobody asks the model
    assert min(plant.scorer.batches) > 0


@pytest.mark.parametrize("ability", ["stores_offsets", "transactional"])
@on_loop
async def test_a_batch_without_results_moves_the_position(ability: str) -> None:
    plant = Plant(ability=ability, dead_letters=True)
    plant.put(30, poison=1)
    runner, output = scripted(plant, rows=10)
    await runner.run()
    assert [names for names, _ in output.calls] == [[], [], []]
    place = plant.sink if ability == "stores_offsets" else plant.source
    assert place.owners[plant.name, f"{plant.source.name}/0"][1] == 30
    assert len(plant.buried()) == 30


@on_loop
async def test_others_are_not_called_for_nothing() -> None:
    plant = Plant()
    plant.put(30, poison=1)
    runner, output = scripted(plant, rows=10)
    await runner.run()
    assert output.calls == []
    assert len(plant.buried()) == 30


@on_loop
async def test_dead_letters_are_durable_before_the_results_and_waited_for() -> None:
    plant = Plant(burying=Faults(seed=5, write=0.7, connect=0.3), ability="stores_offsets")
    plant.put(60, poison=6)
    runner = plant.runner(policy(rows=6))
    seen: list[bool] = []
    commit = MemoryOutput._commit

    def spy(self: MemoryOutput, rows: Rows, dead: Sequence[DeadLetter]) -> None:
        commit(self, rows, dead)
        if rows.batch.ids and self.sink.name == f"topic '{plant.sink.name}'":
            seen.append(len(plant.dead) == len(plant.sink) // 5)

    MemoryOutput._commit = spy  # type: ignore[method-assign]
    try:
        await runner.run()
    finally:
        MemoryOutput._commit = commit  # type: ignore[method-assign]
    assert seen
    assert all(seen)
    assert plant.verdict().exact
    assert runner.status().retries > 5


@on_loop
async def test_dead_letters_that_are_refused_stop_it_with_a_message() -> None:
    plant = Plant(burying=Faults(refuse="poison"), ends=False)
    plant.put(10, poison=10)
    runner = plant.runner(policy())
    task = asyncio.ensure_future(runner.run())
    # between two tries it is connected, for a moment
    await until(lambda: runner.status().retries > 3 and runner.status().state == "waiting")
    assert runner.status().reason == "dead letters: it has 'poison' in it"
    assert runner.status().acknowledged == 0
    runner.drain(0.01)
    await task


@on_loop
async def test_attempts_at_an_output_may_have_an_end() -> None:
    plant = Plant()
    plant.put(20)
    output = Scripted(plant.output(), *[Transient("gone")] * 3)
    await Runner(
        plant.name, plant.input(), output, plant.graveyard(), Doubler(), policy(rows=10, errors={"attempts": 3})
    ).run()
    assert sorted(plant.buried()) == sorted(f"r{n}" for n in range(10))
    assert plant.reasons()["r0"] == "after 3 tries: gone"
    assert len(plant.results()) == 10


@on_loop
async def test_who_is_fenced_drops_the_lane_and_nothing_else() -> None:
    plant = Plant()
    plant.put(60, keys=6, lanes=3)
    runner, output = scripted(plant, Fenced("another owner"), rows=5)
    task = asyncio.ensure_future(runner.run())
    # the lane's records are another owner's now: here, this one's own after a while
    await until(lambda: runner.status().acknowledged == 40 or task.done())
    assert runner.status().fenced == 1
    assert output.connects == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@on_loop
async def test_a_lane_that_was_dropped_and_not_given_again_is_asked_for_at_the_end() -> None:
    plant = Plant()
    plant.put(60)
    runner, output = scripted(plant, Fenced("another owner"), rows=5, rows_in_flight=5)
    await runner.run()
    assert plant.verdict().exact
    assert output.connects == 1
    assert (runner.status().fenced, runner.status().reconnects) == (1, 1)


@on_loop
async def test_an_input_that_goes_on_with_a_lane_of_another_owner_is_connected_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.pipeline.session._GRACE", 0.0)
    plant = Plant(ends=False)
    plant.put(60)
    runner, output = scripted(plant, Fenced("another owner"), rows=5, rows_in_flight=5)
    task = asyncio.ensure_future(runner.run())
    await until(lambda: runner.status().acknowledged == 60)
    assert plant.verdict().exact
    assert output.connects == 2
    runner.drain()
    await task


@on_loop
async def test_a_letter_says_all_there_is_to_say() -> None:
    plant = Plant()
    message = Message(
        "in-1", b"\xff{", b"key", (("traceparent", b"00-a"), ("sluice-attempts", b"2")), 1_700_000_000_000
    )
    plant.source.put([message])
    await plant.runner(policy()).run()
    (kept,) = plant.dead.messages()
    assert (kept.id, kept.key) == ("in-1", b"key")
    found = letter.decode(kept.value or b"")
    assert found.message == Message("in-1", b"\xff{", b"key", (("traceparent", b"00-a"),), 1_700_000_000_000)
    assert (found.lane, found.position, found.attempts, found.model) == (f"{plant.source.name}/0", "1", 3, "doubler")
    assert json.loads(kept.value or b"")["model"] == "doubler"


@on_loop
async def test_lanes_write_at_the_same_time_and_keep_the_order_of_a_key() -> None:
    plant = Plant(writing=Faults(delay=0.002))
    plant.put(600, keys=24)
    runner = plant.runner(policy(lanes=4, rows=40, rows_in_flight=400))
    await runner.run()
    assert plant.verdict().exact


keys = st.lists(st.sampled_from([b"a", b"b", b"c", b"d", None]), max_size=30)


@given(keys, st.integers(1, 5))
def test_parts_are_all_of_it_each_key_in_one_and_in_order(found: list[bytes | None], lanes: int) -> None:
    batch = Batch.of([Message(f"r{n}", b"", key) for n, key in enumerate(found)])
    errors = {len(found): "bad"}

    async def parted() -> Any:
        flight = Flight.of(batch, Token("lane", 1))
        flight.scored = Scored(batch, range(len(found)), errors)
        return split(flight, lanes)

    parts = asyncio.run(parted())
    assert len(parts) == lanes
    assert [part.dead for part in parts] == [errors, *([{}] * (lanes - 1))]
    assert sorted(row for part in parts for row in part.rows) == list(range(len(found)))
    for part in parts:
        assert list(part.rows) == sorted(part.rows)
        assert [batch.ids[row] for row in part.rows] == list(part.batch.ids)
    for key in {b"a", b"b", b"c", b"d"}:
        assert sum(any(found[row] == key for row in part.rows) for part in parts) <= 1
