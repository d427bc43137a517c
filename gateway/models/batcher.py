"""Runs a model: small requests on the event loop (inline.py), others in worker threads, merged with what has queued.

A tiny model runs in a few microseconds, and handing it to a thread costs ten times as much, so what is measured as
short never leaves the loop. For the others a batch is what queued while all instances were busy, and it grows only as
long as the measured rows per second do. Nothing waits for a batch to fill unless the model's config says so, with one
exception: where batches pay, callers that were answered together are given a moment to come back together
(`Batcher._work_refill`).
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import Cancelled, SluiceError, Unavailable
from gateway.core.infer import QUEUED, RUNNING, SETTLED, InferRequest, Outcome
from gateway.core.observe import Statistics
from gateway.core.servable import Executable, Settle
from gateway.core.signature import Signature
from gateway.core.tensor import STRING, Array
from gateway.models.cost import Cost, Growth
from gateway.models.inline import Inline
from gateway.models.run import Run, as_error, shape_key


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """How one version queues and merges. Times in seconds.

    merge           requests may be merged along the batch axis
    max_rows        the most rows of a merged batch
    delay           how long a batch waits to fill up
    instances       runs at the same time
    max_requests, max_bytes   what the queue holds
    timeout         how long a request may wait, 0 for ever; a request may shorten it if `allow_timeout`
    run_limit       after which a run is terminated, 0 for never; a limited model never runs inline
    inline_limit    predicted run time up to which a request runs on the event loop
    """

    merge: bool = True
    max_rows: int = 64
    delay: float = 0.0
    instances: int = 1
    max_requests: int = 4096
    max_bytes: int = 256 << 20
    timeout: float = 0.0
    allow_timeout: bool = True
    run_limit: float = 0.0
    inline_limit: float = 300e-6


#: of a run's time, how much its worker waits for the next arrival before it takes the next batch; and in all
PATIENCE = 0.05
MOST_PATIENCE = 0.25


#: requests of other shapes that one may overtake to be merged: the queue is locked while it is looked through
MOST_PASSED = 256


class Batcher:
    """A Servable around an Executable. All methods belong to the event loop's thread but those named `_work…`."""

    def __init__(
        self,
        executable: Executable,
        policy: BatchPolicy,
        statistics: Statistics,
        pool: ThreadPoolExecutor,
        cost: Cost,
        growth: Growth,
    ) -> None:
        self.signature: Signature = executable.signature
        self.cost = cost
        self.growth = growth
        self._executable = executable
        self._run = executable.run
        self._policy = policy
        self._statistics = statistics
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._inline_ns = 0.0 if policy.run_limit or policy.delay else policy.inline_limit * 1e9
        self._merge = policy.merge and self.signature.batched
        self._inline = Inline(executable, cost, growth, statistics, limit_ns=self._inline_ns, merges=self._merge)
        self._lock = threading.Condition()
        self._queue: deque[InferRequest] = deque()
        self._queued_bytes = 0
        self._queued_rows = 0
        #: rows in the queue that a worker waits for, 0 if none does
        self._awaited = 0
        self._busy = 0
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    # ---- admission

    def submit(self, request: InferRequest, settle: Settle) -> None:
        signature = self.signature
        request.rows = signature.check(request.inputs)
        if request.outputs:
            signature.check_outputs(request.outputs)
        if request.meter is not None:
            request.meter(request.rows)
        elements = 0
        for array in request.inputs.values():
            elements += array.size
        if self.cost.predict(elements) <= self._inline_ns:
            self._inline.submit(request, elements, settle)
        else:
            self._enqueue(request, settle)

    def _enqueue(self, request: InferRequest, settle: Settle) -> None:
        policy = self._policy
        nbytes = sum(map(_nbytes, request.inputs.values()))
        timeout = policy.timeout
        if request.timeout and policy.allow_timeout and (not timeout or request.timeout < timeout):
            timeout = request.timeout
        with self._lock:
            if self._closed:
                raise Unavailable("the model version is being unloaded", retry_after=1.0)
            if len(self._queue) >= policy.max_requests or self._queued_bytes + nbytes > policy.max_bytes:
                raise Unavailable("Exceeds maximum queue size", retry_after=self._wait_estimate())
            request.nbytes = nbytes
            request.timeout = timeout
            request.settle = settle
            request.state = QUEUED
            self._queue.append(request)
            self._queued_bytes += nbytes
            self._queued_rows += request.rows
            start = self._busy < policy.instances
            if start:
                self._busy += 1
                self._idle.clear()
            elif self._awaited and self._queued_rows >= self._awaited:
                self._lock.notify()
        if start:
            self._pool.submit(self._work)
        if timeout:
            request.expiry = self._loop.call_later(timeout, self._expire, request)

    def _wait_estimate(self) -> float:
        """Seconds until the queue will have been worked off, at least one: whole seconds travel in Retry-After."""
        rate = self.growth.rate(self.growth.limit) * 1e9
        return min(max(1.0, math.ceil(self._queued_rows / rate) if rate else 1.0), 60.0)

    def cancel(self, request: InferRequest) -> None:
        self._withdraw(request, Cancelled("the client went away"))

    def _expire(self, request: InferRequest) -> None:
        self._withdraw(request, Unavailable("Request timeout expired"))

    def _withdraw(self, request: InferRequest, error: SluiceError) -> None:
        with self._lock:
            if request.state != QUEUED:
                return
            self._queue.remove(request)
            self._queued_bytes -= request.nbytes
            self._queued_rows -= request.rows
            request.state = SETTLED
        request.started = request.computed = time.perf_counter_ns()
        self._settle(request, error)

    def pending(self) -> int:
        return len(self._queue)

    async def close(self) -> None:
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        for request in list(self._queue):
            self._withdraw(request, Unavailable("the model version is being unloaded", retry_after=1.0))
        await self._idle.wait()
        await self._loop.run_in_executor(self._pool, self._executable.close)

    # ---- worker threads

    def _work(self) -> None:
        """One instance at work until the queue is empty."""
        while requests := self._work_take():
            run = self._work_post(requests)
            if run is not None and run.rows > 1 and self._merge and self.growth.limit > 1:
                self._work_refill(run)

    def _work_take(self) -> list[InferRequest]:
        with self._lock:
            if self._policy.delay and self._merge:
                self._work_delay()
            requests = self._work_gather()
            if not requests:
                self._busy -= 1
                if not self._busy:
                    self._call_soon(self._went_idle)
            return requests

    def _work_delay(self) -> None:
        """Lets the queue fill up for as long as the oldest request allows. The lock is held, but while waiting."""
        while self._queue and not self._closed and self._queued_rows < self._policy.max_rows:
            left = self._policy.delay - (time.perf_counter_ns() - self._queue[0].queued) * 1e-9
            if left <= 0:
                return
            self._work_wait(self._policy.max_rows, left)

    def _work_refill(self, run: Run) -> None:
        """Lets those come back who were answered together.

        Clients that wait for a reply before they send again would otherwise be split for good: whoever returns first
        runs alone, the others queue behind, and each turn pays twice for what one batch costs once (measured with 64
        connections on an MLP: 0.79 of the best rate without this, 0.9 with it; with 4 connections twice the rate).
        """
        patience = (run.ended - run.ready) * 1e-9
        until = time.perf_counter() + patience * MOST_PATIENCE
        rows = min(run.rows, self.growth.limit)
        with self._lock:
            while not run.delivered and not self._closed:
                self._work_wait(0, 1.0)
                until = time.perf_counter() + patience * MOST_PATIENCE
            seen = -1
            while seen < self._queued_rows < rows and not self._closed and time.perf_counter() < until:
                seen = self._queued_rows
                self._work_wait(rows, patience * PATIENCE)

    def _work_wait(self, rows: int, seconds: float) -> None:
        """Until so many rows are queued, or somebody else has news. The lock is held, but while waiting."""
        self._awaited = rows
        self._lock.wait(seconds)
        self._awaited = 0

    def _work_gather(self) -> list[InferRequest]:
        """The oldest request, and with it those that can be merged with it. The lock is held."""
        queue = self._queue
        if not queue:
            return []
        first = queue.popleft()
        taken = [first]
        if self._merge and queue:
            room = (self._policy.max_rows if self._policy.delay else self.growth.limit) - first.rows
            key = shape_key(first, self.signature)
            left: list[InferRequest] = []
            while queue and room > 0 and len(left) < MOST_PASSED:
                request = queue.popleft()
                if request.rows <= room and shape_key(request, self.signature) == key:
                    taken.append(request)
                    room -= request.rows
                else:
                    left.append(request)
            queue.extendleft(reversed(left))
        for request in taken:
            request.state = RUNNING
            self._queued_bytes -= request.nbytes
            self._queued_rows -= request.rows
        return taken

    def _work_post(self, requests: list[InferRequest]) -> Run | None:
        """Runs them and hands the outcome to the loop."""
        now = time.perf_counter_ns()
        late = [r for r in requests if r.timeout and now - r.queued > r.timeout * 1e9]
        if late:
            self._call_soon(self._deliver_late, late)
            requests = [r for r in requests if r not in late]
        if not requests:
            return None
        run = Run(requests)
        try:
            run.execute(self._work_limited, self.signature, in_worker=True)
        except Exception as error:  # noqa: BLE001 - a worker outlives whatever a model does
            if len(requests) > 1:
                # one bad request costs only itself
                for request in requests:
                    self._work_post([request])
                return None
            run.ended = time.perf_counter_ns()
            run.error = error
        self._call_soon(self._deliver, run)
        return run

    def _work_limited(self, inputs: dict[str, Array], names: Sequence[str]) -> list[Array]:
        if not self._policy.run_limit:
            return self._run(inputs, names)
        options = self._executable.run_options()
        stop = threading.Timer(self._policy.run_limit, setattr, (options, "terminate", True))
        stop.daemon = True
        stop.start()
        try:
            return self._run(inputs, names, options)
        finally:
            stop.cancel()

    def _call_soon(self, callback: Any, *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    # ---- back on the loop

    def _deliver(self, run: Run) -> None:
        try:
            self._deliver_all(run)
        finally:
            with self._lock:
                run.delivered = True
                self._lock.notify_all()

    def _deliver_all(self, run: Run) -> None:
        for request in run.requests:
            request.state = SETTLED
            request.started = run.started
            request.computed = run.ended
        if run.error is not None:
            # its traceback leads back to the run: a cycle round the tensors
            error, run.error = run.error, None
            self._settle(run.requests[0], as_error(error))
            return
        run.record(self.cost, self.growth, self._statistics, merges=self._merge)
        for request, response in run.responses():
            self._settle(request, response)

    def _deliver_late(self, requests: list[InferRequest]) -> None:
        for request in requests:
            request.state = SETTLED
            request.started = request.computed = time.perf_counter_ns()
            self._settle(request, Unavailable("Request timeout expired"))

    def _settle(self, request: InferRequest, outcome: Outcome) -> None:
        if request.expiry is not None:
            # a timer that is left to run out keeps the request, and its tensors, until then
            request.expiry.cancel()
            request.expiry = None
        try:
            request.settle(request, outcome)
        except Exception as error:  # noqa: BLE001 - one caller's trouble is not the next one's
            self._loop.call_exception_handler({"message": "a reply could not be delivered", "exception": error})

    def _went_idle(self) -> None:
        if not self._busy:
            self._idle.set()


def _nbytes(array: Array) -> int:
    """What it holds. Of strings, numpy counts the pointers only."""
    return array.nbytes + (sum(map(len, array.flat)) if array.dtype == STRING else 0)
