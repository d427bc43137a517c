"""The requests that wait for an instance of one model version, the oldest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from gateway.core.infer import QUEUED, RUNNING, SETTLED, InferRequest
from gateway.core.signature import Signature
from gateway.models.run import shape_key

#: requests of other shapes that one may overtake to be merged: the queue is locked while it is looked through
MOST_PASSED: Final = 256


class Queue:
    """Its lock and its bounds are the caller's.

    rows, nbytes   of all that waits
    """

    def __init__(self, signature: Signature) -> None:
        self.rows = 0
        self.nbytes = 0
        self._signature = signature
        self._requests: deque[InferRequest] = deque()

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[InferRequest]:
        return iter(self._requests)

    @property
    def first(self) -> InferRequest:
        return self._requests[0]

    def put(self, request: InferRequest) -> None:
        request.state = QUEUED
        self._requests.append(request)
        self.nbytes += request.nbytes
        self.rows += request.rows

    def remove(self, request: InferRequest) -> None:
        self._requests.remove(request)
        request.state = SETTLED
        self._left(request)

    def take(self, rows: int) -> list[InferRequest]:
        """The oldest request, and with it those that can be merged with it to `rows` rows in all."""
        queue = self._requests
        if not queue:
            return []
        first = queue.popleft()
        taken = [first]
        room = rows - first.rows
        if queue and room > 0:
            key = shape_key(first, self._signature)
            passed: list[InferRequest] = []
            while queue and room > 0 and len(passed) < MOST_PASSED:
                request = queue.popleft()
                if request.rows <= room and shape_key(request, self._signature) == key:
                    taken.append(request)
                    room -= request.rows
                else:
                    passed.append(request)
            queue.extendleft(reversed(passed))
        for request in taken:
            request.state = RUNNING
            self._left(request)
        return taken

    def _left(self, request: InferRequest) -> None:
        self.nbytes -= request.nbytes
        self.rows -= request.rows
