"""The requests that wait for an instance of one model version, and how many instances are at work on them.

What is known of both is under one lock: the event loop puts requests in, and whoever runs them takes them out, the loop
or a worker's thread. Nothing waits for a batch to fill unless the model's config says so, with one exception: where
batches pay, callers that were answered together are given a moment to come back together (`wait_for_refill`).
"""

from __future__ import annotations

import math
import threading
import time
from typing import Final

from gateway.core.errors import Unavailable
from gateway.core.infer import QUEUED, InferRequest
from gateway.core.servable import Settle
from gateway.core.signature import Signature
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.cost import Growth
from gateway.models.queue import Queue
from gateway.models.run import Run

#: of a run's time, how much its worker waits for the next arrival before it takes the next batch; and in all
PATIENCE: Final = 0.05
MOST_PATIENCE: Final = 0.25


class Backlog:
    """Any thread may call it, but `wait_for_refill` is a worker's: it waits."""

    def __init__(self, signature: Signature, policy: BatchPolicy, growth: Growth, *, merges: bool) -> None:
        self._policy: Final = policy
        self._growth: Final = growth
        self._merges: Final = merges
        self._lock: Final = threading.Condition()
        self._queue: Final = Queue(signature)
        #: rows in the queue that a worker waits for, 0 if none does
        self._awaited = 0
        self._closed = False
        #: instances at work
        self.busy = 0

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, request: InferRequest, settle: Settle) -> bool:
        """Whether an instance was free, and is to set to work now. Raises Unavailable where it is full or closed."""
        policy = self._policy
        with self._lock:
            if self._closed:
                raise unloading()
            if len(self._queue) >= policy.max_requests or self._queue.nbytes + request.nbytes > policy.max_bytes:
                raise Unavailable("Exceeds maximum queue size", retry_after=self._wait_estimate())
            request.settle = settle
            self._queue.put(request)
            if self.busy < policy.instances:
                self.busy += 1
                return True
            if self._awaited and self._queue.rows >= self._awaited:
                self._lock.notify()
            return False

    def _wait_estimate(self) -> float:
        """Seconds until the queue will have been worked off, at least one: whole seconds travel in Retry-After."""
        rate = self._growth.rate(self._growth.limit) * 1e9
        return min(max(1.0, math.ceil(self._queue.rows / rate) if rate else 1.0), 60.0)

    def take(self) -> list[InferRequest]:
        """The next batch, for an instance that is at work; without one it is so no more."""
        with self._lock:
            if self._policy.delay and self._merges:
                self._wait_to_fill()
            requests = self._queue.take(self._room())
            if not requests:
                self.busy -= 1
            return requests

    def _room(self) -> int:
        """The most rows that the next batch may have."""
        if not self._merges:
            return 0
        return self._policy.max_rows if self._policy.delay else self._growth.limit

    def following(self) -> InferRequest | None:
        """Whose turn is next, if anybody's."""
        with self._lock:
            return self._queue.first if self._queue else None

    def withdraw(self, request: InferRequest) -> bool:
        """Takes it out, if it still waits."""
        with self._lock:
            if request.state != QUEUED:
                return False
            self._queue.remove(request)
            return True

    def close(self) -> list[InferRequest]:
        """Admits nothing more, and says who waits."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
            return list(self._queue)

    # ---- waiting

    def delivered(self, run: Run) -> None:
        """Those in it have their answers, and may come back."""
        with self._lock:
            run.delivered = True
            self._lock.notify_all()

    def wait_for_refill(self, run: Run) -> None:
        """Lets those come back who were answered together.

        Clients that wait for a reply before they send again would otherwise be split for good: whoever returns first
        runs alone, the others queue behind, and each turn pays twice for what one batch costs once (measured with 64
        connections on an MLP: 0.79 of the best rate without this, 0.9 with it; with 4 connections twice the rate).
        """
        limit = self._growth.limit
        if len(run.requests) == 1 and (run.rows >= limit or not len(self)):
            return  # it had no company, and there is none for it to come back to
        patience = (run.ended - run.ready) * 1e-9
        until = time.perf_counter() + patience * MOST_PATIENCE
        rows = min(run.rows, limit)
        with self._lock:
            while not run.delivered and not self._closed:
                self._wait(0, 1.0)
                until = time.perf_counter() + patience * MOST_PATIENCE
            seen = -1
            while seen < self._queue.rows < rows and not self._closed and time.perf_counter() < until:
                seen = self._queue.rows
                self._wait(rows, patience * PATIENCE)

    def _wait_to_fill(self) -> None:
        """For as long as the oldest request allows. The lock is held, but while waiting."""
        while self._queue and not self._closed and self._queue.rows < self._policy.max_rows:
            left = self._policy.delay - (time.perf_counter_ns() - self._queue.first.queued) * 1e-9
            if left <= 0:
                return
            self._wait(self._policy.max_rows, left)

    def _wait(self, rows: int, seconds: float) -> None:
        """Until so many rows are queued, or somebody else has news. The lock is held, but while waiting."""
        self._awaited = rows
        self._lock.wait(seconds)
        self._awaited = 0


def unloading() -> Unavailable:
    return Unavailable("the model version is being unloaded", retry_after=1.0)
