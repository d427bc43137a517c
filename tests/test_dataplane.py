"""Who answers, how it is counted, and that nobody is forgotten: on a real manager with real models."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from gateway.core.errors import Cancelled, Internal, InvalidArgument, NotFound, SluiceError, Unavailable
from gateway.core.infer import InferRequest, InferResponse, Outcome
from gateway.core.observe import Statistics
from gateway.core.servable import ServableId
from gateway.core.signature import Signature
from gateway.dataplane import Dataplane
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.engine import onnx_engine
from gateway.models.manager import Manager
from gateway.models.onnx import Runtime
from gateway.models.repository import Repository
from gateway.routing.split import Split, Splits

EVERY_VERSION = "version_policy { all {} }"


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 20))

    return run


def scale(factor: float) -> bytes:
    """y = factor * x."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "f"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor("f", TensorProto.FLOAT, [1], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """`m` in versions 1, 2 and 3, which multiply by their number."""
    for version in (1, 2, 3):
        folder = tmp_path / "m" / str(version)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(scale(version))
    (tmp_path / "m" / "config.pbtxt").write_text(EVERY_VERSION)
    return tmp_path


class Site:
    def __init__(self, models: Path, policy: BatchPolicy) -> None:
        self.pool = ThreadPoolExecutor(8)
        self.manager = Manager(Repository(models), onnx_engine(Runtime(1), self.pool, policy))
        self.splits = Splits()
        self.dataplane = Dataplane(self.manager, self.splits)

    def statistics(self, version: int = 3) -> Statistics:
        return dict(self.manager.statistics())[ServableId("m", str(version))]

    async def ask(self, version: str = "", **fields: Any) -> str:
        """The version that answered."""
        response = await self.dataplane.infer(request(version, **fields))
        factor = int(response.outputs["y"][0, 0])
        assert response.version == str(factor)
        return response.version


def request(version: str = "", key: str = "", id: str = "", columns: int = 2, model: str = "m") -> InferRequest:
    made = InferRequest(model, version, id, {"x": np.ones((1, columns), np.float32)})
    made.key = key
    made.arrived = 1
    return made


@asynccontextmanager
async def site(models: Path, **policy: Any) -> AsyncIterator[Site]:
    found = Site(models, BatchPolicy(**policy))
    await found.manager.reconcile()
    try:
        yield found
        # whatever happened, no version stays pinned
        assert {handle.pins for handle in found.manager.present("m").values()} == {0}
    finally:
        await found.manager.close()
        found.pool.shutdown()


# ---- who answers


@on_loop
async def test_who_answers(models: Path) -> None:
    async with site(models) as there:
        assert await there.ask() == "3"
        there.manager.set_labels("m", {"stable": "2", "canary": "1"})
        assert await there.ask() == "2"
        there.splits.replace("m", Split("m", [("1", 1.0)]))
        assert await there.ask() == "1"
        # a version that is named wins over all of it
        assert [await there.ask(version) for version in ("1", "2", "3", "stable", "canary")] == [
            "1",
            "2",
            "3",
            "2",
            "1",
        ]
        there.splits.replace("m", Split("m", [("stable", 1.0)]))
        assert await there.ask() == "2"
        there.manager.set_labels("m", {"stable": "3"})
        assert await there.ask() == "3"
        there.splits.replace("m", None)
        there.manager.set_labels("m", {})
        assert await there.ask() == "3"


@on_loop
async def test_the_split_sticks_to_the_key_else_the_id_else_to_chance(models: Path) -> None:
    async with site(models) as there:
        there.splits.replace("m", Split("salt", [("1", 50.0), ("3", 50.0)]))
        for field in ("key", "id"):
            by_name = {}
            for name in map(str, range(40)):
                by_name[name] = await there.ask(**{field: name})
                assert {await there.ask(**{field: name}) for _ in range(3)} == {by_name[name]}
            assert set(by_name.values()) == {"1", "3"}
        # the key wins over the id
        same = {await there.ask(key="one", id=str(number)) for number in range(40)}
        assert len(same) == 1
        assert {await there.ask() for _ in range(60)} == {"1", "3"}


@on_loop
async def test_the_share_of_an_absent_arm_goes_to_the_others(models: Path) -> None:
    async with site(models) as there:
        split = Split("salt", [("1", 50.0), ("canary", 50.0)])
        there.splits.replace("m", split)
        assert {await there.ask(key=str(number)) for number in range(30)} == {"1"}
        assert split.picks["1"] == 30
        assert split.absent["canary"] > 5
        there.splits.replace("m", Split("salt", [("canary", 1.0)]))
        with pytest.raises(NotFound, match="canary"):
            await there.ask()


@on_loop
async def test_a_raw_request_is_decoded_for_the_version_that_answers_it_and_picked_once(models: Path) -> None:
    async with site(models) as there:
        assert there.dataplane.resolve("m", "", "")[0] == ""
        assert isinstance(there.dataplane.resolve("m", "2", "")[1], Signature)
        split = Split("salt", [("1", 50.0), ("3", 50.0)])
        there.splits.replace("m", split)
        for number in range(30):
            version, _ = there.dataplane.resolve("m", "", str(number))
            assert await there.ask(version) == version
            assert version == split.pick(str(number), there.manager.present("m"))
        assert sum(split.picks.values()) == 60
        with pytest.raises(NotFound):
            there.dataplane.resolve("none", "", "")


@on_loop
async def test_who_is_not_there(models: Path) -> None:
    async with site(models) as there:
        for asked in (request(model="none"), request("4"), request("canary"), request("../1")):
            with pytest.raises(NotFound, match=r"^Request for unknown model"):
                await there.dataplane.infer(asked)
        there.manager.set_labels("m", {"canary": "9"})
        with pytest.raises(Unavailable, match="names version 9"):
            await there.ask("canary")


# ---- how it is counted


@pytest.mark.parametrize("inline", [1.0, 0.0])
@on_loop
async def test_times_add_up_and_counters_only_grow(models: Path, inline: float) -> None:
    async with site(models, inline_limit=inline) as there:
        statistics = there.statistics()
        before = _numbers(statistics)
        for turn in range(1, 4):
            good = [there.dataplane.infer(_timed(request())) for _ in range(5)]
            bad = [there.dataplane.infer(_timed(request(columns=3))) for _ in range(2)]
            found = await asyncio.gather(*good, *bad, return_exceptions=True)
            assert [isinstance(each, InferResponse) for each in found] == [True] * 5 + [False] * 2
            now = _numbers(statistics)
            assert all(new >= old for old, new in zip(before, now, strict=True))
            before = now
            assert (statistics.success_count, statistics.rows, statistics.fail_count) == (
                5 * turn,
                5 * turn,
                2 * turn,
            )
        parts = statistics.input_ns + statistics.queue_ns + statistics.infer_ns + statistics.output_ns
        assert parts == statistics.success_ns
        assert min(statistics.input_ns, statistics.queue_ns, statistics.infer_ns, statistics.output_ns) >= 0
        assert statistics.failures == {"REJECTED": 0, "CANCELED": 0, "BACKEND": 0, "OTHER": 6}
        assert sum(statistics.latency) == 15
        assert sum(batch.count for batch in statistics.batches.values()) == statistics.executions <= 15
        assert sum(rows * batch.count for rows, batch in statistics.batches.items()) == 15
        assert there.statistics(1).success_count == 0


def _timed(asked: InferRequest) -> InferRequest:
    import time

    asked.arrived = time.perf_counter_ns()
    return asked


def _numbers(statistics: Statistics) -> list[int]:
    found = [getattr(statistics, name) for name in Statistics.__slots__]
    plain = [value for value in found if isinstance(value, int)]
    return [*plain, *statistics.latency, *statistics.failures.values()]


@on_loop
async def test_a_cancelled_task_takes_its_request_out_of_the_queue(models: Path) -> None:
    async with site(models, inline_limit=0.0, delay=0.0) as there:
        task = asyncio.create_task(there.dataplane.infer(_timed(request())))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await there.ask() == "3"
        # it may have run already; then it was a success
        statistics = there.statistics()
        assert statistics.success_count + statistics.failures["CANCELED"] == 2


# ---- nobody is forgotten


class Broken(Exception):
    pass


class Faulty:
    """A Servable that does what a test says."""

    def __init__(self, servable: Any, does: Callable[..., None]) -> None:
        self.signature = servable.signature
        self.submit = does
        self.cancel = servable.cancel


DOES: dict[str, tuple[Callable[..., None], type[SluiceError]]] = {}


def does(error: type[SluiceError]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def add(function: Callable[..., None]) -> Callable[..., None]:
        DOES[function.__name__] = function, error
        return function

    return add


@does(InvalidArgument)
def refuses(request: InferRequest, settle: Any) -> None:
    raise InvalidArgument("no")


@does(Internal)
def breaks_down(request: InferRequest, settle: Any) -> None:
    raise Broken("secret")


@does(Cancelled)
def settles_at_once(request: InferRequest, settle: Any) -> None:
    settle(request, Cancelled("gone"))


@does(Cancelled)
def settles_later(request: InferRequest, settle: Any) -> None:
    asyncio.get_running_loop().call_soon(settle, request, Cancelled("gone"))


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("name", DOES)
@on_loop
async def test_whatever_goes_wrong_done_is_called_once_and_the_version_let_go(
    models: Path, name: str, raises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    act, error = DOES[name]
    async with site(models) as there:
        handle = there.manager.present("m")["3"]
        servable, handle.servable = handle.servable, Faulty(handle.servable, act)  # type: ignore[assignment]
        try:
            called: list[Outcome] = []

            def done(outcome: Outcome) -> None:
                called.append(outcome)
                if raises:
                    raise Broken("the transport's trouble")

            with caplog.at_level(logging.ERROR):
                asked = request()
                there.dataplane.submit(asked, done)
                await asyncio.sleep(0.01)
            (outcome,) = called
            assert type(outcome) is error
            assert "secret" not in outcome.message
            assert handle.pins == 0
            assert there.statistics().fail_count == 1
            assert ("the transport's trouble" in caplog.text) is raises
            with pytest.raises(AssertionError):
                asked.done(outcome)
        finally:
            handle.servable = servable


@pytest.mark.parametrize("inline", [1.0, 0.0])
@on_loop
async def test_a_transport_that_breaks_while_it_is_told_is_told_once(models: Path, inline: float) -> None:
    async with site(models, inline_limit=inline) as there:
        called = itertools.count()

        def done(outcome: Outcome) -> None:
            next(called)
            raise Broken

        logging.disable()
        try:
            for _ in range(10):
                there.dataplane.submit(_timed(request()), done)
                await asyncio.sleep(0.005)
        finally:
            logging.disable(logging.NOTSET)
        assert next(called) == 10
        assert there.statistics().success_count == 10
        assert await there.ask() == "3"


@on_loop
async def test_an_error_before_anybody_was_found_reaches_who_asked(models: Path) -> None:
    async with site(models) as there:
        heard: list[Outcome] = []
        there.dataplane.submit(request("9"), heard.append)
        assert isinstance(heard[0], NotFound)
        # and is nobody's failure
        assert there.statistics().fail_count == 0
