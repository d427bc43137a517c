"""What runs on the event loop, and what must not: small requests, crowds of them, and large ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models.stand import Model, Stand, known, on_loop, signature, standing, y
from onnx import TensorProto, helper

from gateway.core.errors import DeadlineExceeded, Internal, InvalidArgument
from gateway.core.infer import InferResponse
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.config import ModelConfig
from gateway.models.cost import Cost, Growth
from gateway.models.onnx import Runtime
from gateway.models.warmup import measure


def brief(limit: int = 64) -> dict[str, Any]:
    """Costs that let everything run inline."""
    return {"cost": known(1.0), "limit": limit, "inline_limit": 10.0}


@on_loop
async def test_what_is_brief_is_answered_at_once() -> None:
    model = Model()
    async with standing(model, **brief()) as stand:
        for values in ([[1]], [[2], [3]], []):
            future = stand.ask(np.array(values, np.float32).reshape(-1, 1))
            assert future.done()
            assert y(future.result()) == [[2 * value for value in row] for row in values]
        assert isinstance(stand.ask([[-1]]).result(), InvalidArgument)


@on_loop
async def test_a_crowd_is_run_together_and_a_bad_one_in_it_costs_only_itself() -> None:
    model = Model(signature(-1))
    async with standing(model, **brief()) as stand:
        values = [n if n % 10 else -1 - (n // 10) % 2 for n in range(1, 61)]
        widths = [1 + n // 7 % 2 for n in range(60)]
        futures = [stand.ask([[value] * width]) for value, width in zip(values, widths, strict=True)]
        for value, width, future in zip(values, widths, futures, strict=True):
            outcome = await future
            if value == -1:
                assert isinstance(outcome, InvalidArgument)
            elif value == -2:
                assert isinstance(outcome, Internal)
            else:
                assert y(outcome) == [[2 * value] * width]
    assert max(model.runs) > 1


# ---- real models


def chain(length: int, size: int = 512) -> Any:
    """`length` products of matrices."""
    nodes = [
        helper.make_node("MatMul", [f"h{i}" if i else "x", "w"], [f"h{i + 1}" if i + 1 < length else "y"])
        for i in range(length)
    ]
    weight = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32) / 30
    return nodes, [("x", TensorProto.FLOAT, ["n", size])], [("y", TensorProto.FLOAT, ["n", size])], {"w": weight}


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(1)


@on_loop
async def test_a_run_is_ended_at_its_limit(tmp_path: Path, make: Any, runtime: Runtime) -> None:
    path = make.save(make.model(*chain(400)), tmp_path / "1")
    model = runtime.load(path, ModelConfig(max_batch_size=None))
    cost = Cost()
    cost.record(1, 1.0)
    # it never runs inline, however brief it seems
    async with standing(model, run_limit=0.1, cost=cost, inline_limit=1.0) as stand:
        began = time.perf_counter()
        long = stand.ask(np.ones((600, 512), np.float32))
        waits = stand.ask(np.ones((1, 512), np.float32))
        assert isinstance(await long, DeadlineExceeded)
        assert time.perf_counter() - began < 3
        assert isinstance(await waits, (InferResponse, DeadlineExceeded))


@on_loop
async def test_a_hundred_thousand_rows_do_not_stop_the_loop(tmp_path: Path, make: Any, runtime: Runtime) -> None:
    """The model is brief for a row, which runs inline; all of them take a while, in a thread."""
    model = runtime.load(make.save(make.linear(30, 300), tmp_path / "1"), ModelConfig())
    cost, growth = Cost(), Growth(64)
    measure(model, cost, growth)
    async with standing(model, cost=cost, inline_limit=300e-6) as stand:
        assert stand.ask(np.ones((1, 30), np.float32)).done()
        rows = np.ones((100_000, 30), np.float32)
        direct = _seconds(lambda: model.run({"x": rows}, ["y"]))
        stalls = []
        for _ in range(5):
            request = stand.request(rows)
            began = time.perf_counter()
            future = stand.send(request)
            stalls.append(time.perf_counter() - began)
            assert not future.done()
            assert isinstance(await future, InferResponse)
        assert min(stalls) < direct / 10


def _seconds(call: Callable[[], object]) -> float:
    call()
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@on_loop
async def test_threads_are_as_many_as_models_that_are_busy(tmp_path: Path, make: Any, runtime: Runtime) -> None:
    path = make.save(make.linear(), tmp_path / "1")
    pool = ThreadPoolExecutor(64)
    stands = []
    for number in range(20):
        cost = Cost()
        if number % 2:
            cost.record(1, 1.0)
        stand = Stand(runtime.load(path, ModelConfig()), BatchPolicy(), Growth(64), cost)
        stand.pool.shutdown()
        stand.batcher._pool = pool
        stands.append(stand)
    before = threading.active_count()
    native = _native_threads()
    for stand in stands * 3:
        assert isinstance(await stand.ask(np.ones((1, 4), np.float32)), InferResponse)
    assert threading.active_count() - before <= 2
    assert _native_threads() - native <= 2
    for stand in stands:
        await stand.batcher.close()
    pool.shutdown()


def _native_threads() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())
