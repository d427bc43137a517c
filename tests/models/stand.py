"""A batcher to ask, and a model that a test can hold and release."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import numpy as np

from gateway.core.errors import InvalidArgument, SluiceError
from gateway.core.infer import InferRequest, InferResponse, Outcome
from gateway.core.observe import Statistics
from gateway.core.servable import Executable, ServableId
from gateway.core.signature import Signature
from gateway.core.tensor import DATA_TYPES, STRING, Array, TensorSpec
from gateway.models.batcher import Batcher
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.config import ModelConfig
from gateway.models.cost import Cost, Growth
from gateway.models.handle import Handle
from gateway.models.pacer import Pacer

Test = Callable[..., Awaitable[None]]


def on_loop(test: Test) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 20))

    return run


def signature(columns: int = 1, datatype: str = "FP32", *, batched: bool = True) -> Signature:
    kind = DATA_TYPES[datatype]
    return Signature(
        [TensorSpec("x", kind, (-1, columns))],
        [TensorSpec("y", kind, (-1, columns)), TensorSpec("z", kind, (-1, columns))],
        batched=batched,
    )


class Model:
    """y = 2x, z = 3x. Refuses -1, breaks down at -2. While it is held, a run waits in it."""

    def __init__(self, takes: Signature | None = None) -> None:
        self.signature = takes or signature()
        #: rows of each run, and the threads that they were in
        self.runs: list[int] = []
        self.threads: list[int] = []
        self.inside = 0
        self.most_inside = 0
        self.closed = False
        self.seconds = 0.0
        self._free = threading.Event()
        self._free.set()
        self._lock = threading.Lock()
        self._entered = threading.Condition(self._lock)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], options: Any = None) -> list[Array]:
        x = inputs["x"]
        with self._lock:
            assert not self.closed
            self.runs.append(len(x))
            self.threads.append(threading.get_ident())
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            self._entered.notify_all()
        try:
            assert self._free.wait(10)
            if self.seconds:
                time.sleep(self.seconds)
            if x.dtype != STRING:
                if (x == -1).any():
                    raise InvalidArgument("it does not take -1")
                if (x == -2).any():
                    raise RuntimeError("out of order")
            return [x * 2 if name == "y" else x * 3 for name in outputs]
        finally:
            with self._lock:
                self.inside -= 1

    def run_options(self) -> Any:
        raise AssertionError("it has no limit")

    def close(self) -> None:
        assert not self.inside
        self.closed = True

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    async def entered(self, count: int) -> None:
        """Waits for so many runs to have begun in all."""

        def wait() -> bool:
            with self._lock:
                return self._entered.wait_for(lambda: len(self.runs) >= count, 10)

        assert await asyncio.to_thread(wait)


class Stand:
    """A batcher and those who ask it."""

    def __init__(
        self,
        model: Executable,
        policy: BatchPolicy,
        growth: Growth,
        cost: Cost | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        self.statistics = Statistics()
        self.pool = ThreadPoolExecutor(32)
        self.batcher = Batcher(model, policy, self.statistics, self.pool, cost or Cost(), growth, pacer)
        self.handle = Handle(ServableId("m", "7"), self.batcher, self.statistics, ModelConfig())
        self.settled: list[InferRequest] = []
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}

    def request(self, values: Any, outputs: Sequence[str] = (), timeout: float = 0.0) -> InferRequest:
        array = values if isinstance(values, np.ndarray) else np.array(values, np.float32).reshape(len(values), -1)
        request = InferRequest("m", "", "", {"x": array})
        request.handle, request.outputs, request.timeout = self.handle, tuple(outputs), timeout
        request.arrived = request.queued = time.perf_counter_ns()
        return request

    def send(self, request: InferRequest) -> asyncio.Future[Outcome]:
        """Raises what `submit` raises."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[id(request)] = future
        try:
            self.batcher.submit(request, self._settle)
        except SluiceError:
            del self._waiting[id(request)]
            raise
        return future

    def _settle(self, request: InferRequest, outcome: Outcome) -> None:
        self.settled.append(request)
        self._waiting.pop(id(request)).set_result(outcome)  # raises at a second call

    def ask(self, values: Any, outputs: Sequence[str] = (), timeout: float = 0.0) -> asyncio.Future[Outcome]:
        return self.send(self.request(values, outputs, timeout))


@asynccontextmanager
async def standing(
    model: Executable,
    most: int = 64,
    limit: int = 64,
    cost: Cost | None = None,
    pacer: Pacer | None = None,
    **policy: Any,
) -> AsyncIterator[Stand]:
    """One that never runs inline unless it is told the limit, and has learned that batches up to `limit` rows pay."""
    growth = Growth(most)
    rows = 1
    while rows <= limit:
        growth.record(rows, 1_000_000)
        rows *= 2
    if limit < most:
        growth.record(2 * limit, 1e12)
    policy.setdefault("inline_limit", 0.0)
    stand = Stand(model, BatchPolicy(max_rows=most, **policy), growth, cost, pacer)
    try:
        yield stand
    finally:
        if isinstance(model, Model):
            model.release()
        await stand.batcher.close()
        stand.pool.shutdown()


def known(nanoseconds: float) -> Cost:
    """Whatever the size."""
    cost = Cost()
    for size in (0, *(1 << bit for bit in range(20))):
        cost.record(size, nanoseconds)
    return cost


def y(outcome: Outcome) -> list[list[float]]:
    assert isinstance(outcome, InferResponse), outcome
    assert (outcome.model, outcome.version) == ("m", "7")
    return outcome.outputs["y"].tolist()  # type: ignore[no-any-return]
