"""The life of a runner: start, drain, pause, end, cancellation, and what it tells of itself."""

from __future__ import annotations

import asyncio

import pytest
from pipeline.plant import Doubler, Plant, on_loop, policy, running, until

from adapters.memory import Faults, MemoryInput
from gateway.core.errors import InvalidArgument, Unavailable
from gateway.core.stream import Batch
from gateway.pipeline.policy import Breaker
from gateway.pipeline.runner import Runner
from gateway.pipeline.scoring.scored import Scored
from gateway.pipeline.session import Session


@on_loop
async def test_runs_to_the_end_of_its_input() -> None:
    plant = Plant()
    plant.put(1000, keys=9, lanes=3, poison=50)
    runner = plant.runner(policy(rows=64))
    assert runner.status().state == "starting"
    await runner.run()
    assert plant.verdict().exact
    status = runner.status()
    assert (status.state, status.reason) == ("finished", "")
    assert (status.read, status.scored, status.written, status.dead) == (1000, 980, 980, 20)
    assert (status.acknowledged, status.in_flight, status.in_flight_bytes, status.lanes) == (1000, 0, 0, 0)
    assert status.retries == status.reconnects == status.suppressed == status.dropped == 0
    assert sum(status.sizes.values()) == status.batches
    assert status.guarantee.startswith("at least once: ")
    assert "no record" in plant.reasons()["r49"]


class Skipper(Doubler):
    """Lets nothing come of records whose number does not end in 0 or 5, and blames nobody for it."""

    async def score(self, batch: Batch) -> Scored:
        scored = await super().score(batch)
        keep = [at for at, row in enumerate(scored.rows) if batch.ids[row][-1] in "05"]
        return Scored(scored.batch.take(keep), [scored.rows[at] for at in keep], scored.errors)


@on_loop
@pytest.mark.parametrize("lanes", [1, 4])
async def test_what_is_skipped_is_acknowledged_and_counted(lanes: int) -> None:
    plant = Plant()
    plant.put(1000, keys=9, lanes=3)
    runner = plant.runner(policy(rows=1, lanes=lanes), Skipper())
    await runner.run()
    status = runner.status()
    assert (status.read, status.acknowledged, status.in_flight) == (1000, 1000, 0)
    assert (status.scored, status.written, status.skipped, status.dead) == (200, 200, 800, 0)
    assert sorted(plant.buried()) == []
    assert len(plant.results()) == 200


@on_loop
async def test_an_input_without_records() -> None:
    plant = Plant()
    runner = plant.runner(policy())
    await runner.run()
    assert runner.status().state == "finished"


@on_loop
async def test_drain_finishes_what_was_read_and_reads_no_more() -> None:
    plant = Plant(ends=False, writing=Faults(delay=0.01))
    plant.put(500)
    runner = plant.runner(policy(rows=10, rows_in_flight=40))
    task = asyncio.ensure_future(runner.run())
    await until(lambda: runner.status().acknowledged >= 20)
    runner.drain()
    assert runner.status().state == "draining"
    await task
    status = runner.status()
    assert status.state == "stopped"
    assert status.in_flight == 0
    assert 20 <= status.read == status.acknowledged < 500
    again = plant.runner(policy())
    async with running(again):
        await until(lambda: again.status().acknowledged == 500 - status.read)
    assert plant.verdict().exact


@on_loop
async def test_a_drain_ends_at_its_deadline_and_what_was_not_written_comes_again() -> None:
    plant = Plant(ends=False, writing=Faults(write=1.0))
    plant.put(50)
    runner = plant.runner(policy(rows=10))
    task = asyncio.ensure_future(runner.run())
    await until(lambda: runner.status().retries > 2)
    runner.drain(0.05)
    await asyncio.wait_for(task, 5)
    status = runner.status()
    assert (status.state, status.written, status.acknowledged) == ("stopped", 0, 0)
    plant.writing, plant.ends = Faults(), True
    await plant.runner(policy()).run()
    assert plant.verdict().exact


@on_loop
async def test_a_drain_before_the_start_and_one_while_it_cannot_connect() -> None:
    plant = Plant(ends=False, reading=Faults(connect=1.0))
    runner = plant.runner(policy())
    runner.drain()
    await runner.run()
    assert runner.status().state == "stopped"
    runner = plant.runner(policy())
    task = asyncio.ensure_future(runner.run())
    await until(lambda: runner.status().retries > 3)
    status = runner.status()
    assert status.state == "waiting"
    assert status.reason == f"input: topic '{plant.source.name}' is not there"
    runner.drain()
    await asyncio.wait_for(task, 5)


@pytest.mark.parametrize("wish", ["drain", "pause"])
@on_loop
async def test_a_wish_of_the_moment_in_which_it_is_connected_is_heard(
    monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    plant = Plant(ends=False)
    runner = plant.runner(policy())
    connect = MemoryInput.connect

    async def connected(self: MemoryInput) -> None:
        await connect(self)
        runner.drain() if wish == "drain" else runner.pause("a moment")

    monkeypatch.setattr(MemoryInput, "connect", connected)
    async with running(runner):
        await until(lambda: runner.status().state in ("stopped", "paused"))


@on_loop
async def test_cancelling_leaves_everything_to_come_again() -> None:
    plant = Plant(ends=False, writing=Faults(delay=0.002))
    plant.put(300)
    others = asyncio.all_tasks()
    for turns in range(12):
        runner = plant.runner(policy(rows=20))
        task = asyncio.ensure_future(runner.run())
        for _ in range(turns * turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == others
    plant.ends = True
    await plant.runner(policy()).run()
    assert plant.verdict().sound


@on_loop
async def test_pause_lets_go_and_resume_goes_on() -> None:
    plant = Plant(ends=False)
    plant.put(100)
    runner = plant.runner(policy(rows=10))
    async with running(runner):
        await until(lambda: runner.status().acknowledged == 100)
        runner.pause("somebody wants to look at it")
        await until(lambda: runner.status().state == "paused")
        assert runner.status().reason == "somebody wants to look at it"
        assert not plant.source.listeners  # the input is closed
        plant.put(100)
        await asyncio.sleep(0.02)
        assert runner.status().read == 100
        runner.resume()
        await until(lambda: runner.status().acknowledged == 200)
        assert runner.status().state == "running"
        assert runner.status().reason == ""
    assert plant.verdict().exact


@on_loop
async def test_pause_before_the_start_pause_twice_and_drain_from_a_pause() -> None:
    plant = Plant(ends=False)
    plant.put(10)
    runner = plant.runner(policy())
    runner.pause("first")
    task = asyncio.ensure_future(runner.run())
    await until(lambda: runner.status().state == "paused")
    runner.pause("second")
    assert runner.status().reason == "second"
    runner.drain()
    await asyncio.wait_for(task, 5)
    assert runner.status().state == "stopped"
    assert runner.status().read == 0


@on_loop
async def test_the_breaker_pauses_before_anything_is_lost_to_the_dead_letters() -> None:
    plant = Plant(ends=False)
    plant.put(100, poison=1)
    runner = plant.runner(policy(rows=50, errors={"breaker": Breaker(share=0.5, window=50)}))
    async with running(runner):
        await until(lambda: runner.status().state == "paused")
        status = runner.status()
        assert "50 of the last 50 records are at fault, the limit is 50%; the last one: it is" in status.reason
        assert (status.trips, status.dead, len(plant.buried())) == (1, 0, 0)
        # by hand: a whole window passes, then it is judged again
        runner.resume()
        await until(lambda: runner.status().trips == 2)
        assert len(plant.buried()) == 50


@on_loop
async def test_the_breaker_tries_one_batch_after_a_while() -> None:
    plant = Plant()
    plant.put(30, poison=1)
    plant.put(300)
    breaker = Breaker(share=0.5, window=20, retry=0.02)
    scorer = Doubler()
    runner = plant.runner(policy(rows=20, errors={"breaker": breaker}), scorer)
    task = asyncio.ensure_future(runner.run())
    await until(lambda: runner.status().trips >= 3)
    # somebody repairs it
    plant.source.lanes[f"{plant.source.name}/0"].values[:30] = [b'{"x": 0}'] * 30
    await task
    assert runner.status().state == "finished"
    assert not plant.buried()
    assert len(plant.results()) == 330


@on_loop
async def test_a_model_that_is_not_there_is_waited_for() -> None:
    plant = Plant()
    plant.put(100)
    scorer = Doubler()
    scorer.fails = [Unavailable("model 'm' is loading")] * 5
    runner = plant.runner(policy(rows=10), scorer)
    seen = []
    scorer.before = lambda: asyncio.sleep(0, seen.append((runner.status().state, runner.status().reason)))
    await runner.run()
    assert ("waiting", "model: model 'm' is loading") in seen
    assert plant.verdict().exact
    status = runner.status()
    assert (status.retries, status.reconnects, status.reason) == (5, 0, "")


@on_loop
async def test_attempts_at_a_model_may_have_an_end() -> None:
    plant = Plant()
    plant.put(30)
    scorer = Doubler()
    scorer.fails = [Unavailable("it takes too long")] * 3
    await plant.runner(policy(rows=10, errors={"attempts": 3}), scorer).run()
    assert len(plant.buried()) == 10
    assert plant.reasons()["r0"] == "after 3 tries: it takes too long"
    assert len(plant.results()) == 20


def test_parts_that_do_not_go_together_are_refused() -> None:
    plant = Plant(ability="stores_offsets")
    with pytest.raises(InvalidArgument, match="lanes is 2, expected 1"):
        plant.runner(policy(lanes=2))
    output = plant.output()
    with pytest.raises(InvalidArgument, match="dead letters need an output of their own"):
        Runner("p", plant.input(), output, None, Doubler(), policy())


@pytest.mark.parametrize(
    ("ability", "said"),
    [
        ("plain", "at least once: topic"),
        ("idempotent", "exactly once: topic"),
        ("stores_offsets", "exactly once: topic"),
        ("transactional", "exactly once: topic"),
    ],
)
def test_says_what_holds(ability: str, said: str) -> None:
    assert str(Plant(ability=ability).runner(policy()).guarantee).startswith(said)


@on_loop
async def test_a_fault_of_the_pipeline_itself_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant()
    plant.put(40)
    watch, broken = Session._watch, [ZeroDivisionError("a bug")] * 3

    async def buggy(self: Session) -> None:
        if broken:
            raise broken.pop()
        await watch(self)

    monkeypatch.setattr(Session, "_watch", buggy)
    runner = plant.runner(policy(rows=10))
    await runner.run()
    assert plant.verdict().exact
    assert runner.status().retries == 3


@on_loop
async def test_resumed_while_it_lets_go_it_goes_on() -> None:
    plant = Plant(ends=False)
    plant.put(50)
    for turns in range(25):
        runner = plant.runner(policy(rows=10))
        async with running(runner):
            await until(lambda runner=runner: runner.status().state == "running")  # type: ignore[misc]
            runner.pause("a moment")
            for _ in range(turns):
                await asyncio.sleep(0)
            runner.resume()
            entries = len(plant.ledger.entries)
            plant.put(1)
            await until(lambda entries=entries: len(plant.results()) > entries)  # type: ignore[misc]
    assert plant.verdict().exact
