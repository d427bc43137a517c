"""Runs a model: small requests on the event loop (inline.py), others in worker threads, merged with what has queued;
on a single core the loop works off a queue of brief runs, too (pacer.py).

A tiny model runs in a few microseconds, and handing it to a thread costs ten times as much, so what is measured as
short never leaves the loop. For the others a batch is what queued while all instances were busy, and it grows only as
long as the measured rows per second do (backlog.py).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gateway.core.errors import Cancelled, SluiceError, Unavailable
from gateway.core.infer import SETTLED, InferRequest, Outcome
from gateway.core.observe import Statistics
from gateway.core.servable import Executable, Settle
from gateway.core.signature import Signature
from gateway.core.tensor import STRING, Array
from gateway.models.backlog import Backlog, unloading
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.cost import Cost, Growth
from gateway.models.inline import Inline
from gateway.models.pacer import Pacer
from gateway.models.run import Run, as_error

#: has the callback called, with its argument
Tell = Callable[[Callable[[Any], None], Any], None]

#: a model whose batches are larger than this, or are tried to be, gains by them
PACED_ROWS = 2


class Batcher:
    """A Servable around an Executable. Its methods belong to the event loop's thread, but for those named `_work…`,
    which belong to a worker's, and those that take and run a batch, which either may call."""

    def __init__(
        self,
        executable: Executable,
        policy: BatchPolicy,
        statistics: Statistics,
        pool: ThreadPoolExecutor,
        cost: Cost,
        growth: Growth,
        pacer: Pacer | None = None,
    ) -> None:
        self.signature: Signature = executable.signature
        self.cost = cost
        self.growth = growth
        self._executable = executable
        self._run = executable.run
        self._policy = policy
        self._statistics = statistics
        self._pool = pool
        self._pacer = None if policy.run_limit or policy.delay else pacer
        self._loop = asyncio.get_running_loop()
        self._inline_ns = 0.0 if policy.run_limit or policy.delay else policy.inline_limit * 1e9
        self._merge = policy.merge and self.signature.batched
        self._inline = Inline(executable, cost, growth, statistics, limit_ns=self._inline_ns, merges=self._merge)
        self._backlog = Backlog(self.signature, policy, growth, merges=self._merge)
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
        timeout = policy.timeout
        if request.timeout and policy.allow_timeout and (not timeout or request.timeout < timeout):
            timeout = request.timeout
        request.nbytes = sum(map(_nbytes, request.inputs.values()))
        request.timeout = timeout
        if self._backlog.put(request, settle):
            self._idle.clear()
            self._begin(request)
        if timeout:
            request.expiry = self._loop.call_later(timeout, self._expire, request)

    def _begin(self, request: InferRequest) -> None:
        """An instance sets to work, of which this request is the first."""
        if self._pacer is not None and self._paced(self._pacer, request):
            self._pacer.add(self._turn)
        else:
            self._pool.submit(self._work)

    def _paced(self, pacer: Pacer, request: InferRequest) -> bool:
        """Whether the loop may run it. Not where batches pay: those fill up while a thread is at work."""
        limit = self.growth.limit if self._merge else 1
        if limit > PACED_ROWS:
            return False
        elements = sum(array.size for array in request.inputs.values())
        return self.cost.predict(elements * limit) <= pacer.limit_ns

    def cancel(self, request: InferRequest) -> None:
        self._withdraw(request, Cancelled("the client went away"))

    def _expire(self, request: InferRequest) -> None:
        self._withdraw(request, Unavailable("Request timeout expired"))

    def _withdraw(self, request: InferRequest, error: SluiceError) -> None:
        if self._backlog.withdraw(request):
            request.started = request.computed = time.perf_counter_ns()
            self._settle(request, error)

    def pending(self) -> int:
        return len(self._backlog)

    async def close(self) -> None:
        for request in self._backlog.close():
            self._withdraw(request, unloading())
        await self._idle.wait()
        await self._loop.run_in_executor(self._pool, self._executable.close)

    # ---- the loop's turns

    def _turn(self, pacer: Pacer, until: int) -> bool:
        """One instance at work on the loop: the queue's next, and more if they fit."""
        while requests := self._take():
            run = self._post(requests, _at_once, in_worker=False)
            following = self._backlog.following()
            if following is None:
                continue
            if not self._paced(pacer, following):
                self._pool.submit(self._work)
                return False
            if run is None or time.perf_counter_ns() + (run.ended - run.started) // 2 > until:
                return True
        return False

    # ---- worker threads

    def _work(self) -> None:
        """One instance at work until the queue is empty."""
        while requests := self._take():
            run = self._post(requests, self._call_soon, in_worker=True)
            if self._pacer is not None and self._work_goes_back(self._pacer):
                return
            if run is not None and run.rows > 1 and self._merge and self.growth.limit > 1:
                self._backlog.wait_for_refill(run)

    def _work_goes_back(self, pacer: Pacer) -> bool:
        """To the loop, whose turn it would be by what is known now."""
        following = self._backlog.following()
        if following is None or not self._paced(pacer, following):
            return False
        self._call_soon(pacer.add, self._turn)
        return True

    def _call_soon(self, callback: Callable[[Any], None], argument: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, argument)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    # ---- a batch, taken and run in either

    def _take(self) -> list[InferRequest]:
        requests = self._backlog.take()
        if not requests and not self._backlog.busy:
            self._call_soon(self._went_idle, None)
        return requests

    def _post(self, requests: list[InferRequest], tell: Tell, *, in_worker: bool) -> Run | None:
        """Runs them and tells the outcome."""
        now = time.perf_counter_ns()
        late = [r for r in requests if r.timeout and now - r.queued > r.timeout * 1e9]
        if late:
            tell(self._deliver_late, late)
            requests = [r for r in requests if r not in late]
        if not requests:
            return None
        run = Run(requests)
        try:
            run.execute(self._limited, self.signature, in_worker=in_worker)
        except Exception as error:  # noqa: BLE001 - a worker outlives whatever a model does
            if len(requests) > 1:
                # one bad request costs only itself
                for request in requests:
                    self._post([request], tell, in_worker=in_worker)
                return None
            run.ended = time.perf_counter_ns()
            run.error = error
        tell(self._deliver, run)
        return run

    def _limited(self, inputs: dict[str, Array], names: Sequence[str]) -> list[Array]:
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

    # ---- back on the loop

    def _deliver(self, run: Run) -> None:
        try:
            self._deliver_all(run)
        finally:
            self._backlog.delivered(run)

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

    def _went_idle(self, _: None) -> None:
        if not self._backlog.busy:
            self._idle.set()


def _at_once(callback: Callable[[Any], None], argument: Any) -> None:
    callback(argument)


def _nbytes(array: Array) -> int:
    """What it holds. Of strings, numpy counts the pointers only."""
    return array.nbytes + (sum(map(len, array.flat)) if array.dtype == STRING else 0)
