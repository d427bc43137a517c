"""One execution of a model: the requests in it, merged along the batch axis, and each one's share of what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gateway.core.errors import Internal, SluiceError
from gateway.core.infer import InferRequest, InferResponse
from gateway.core.observe import Statistics
from gateway.core.signature import Signature
from gateway.core.tensor import Array
from gateway.models.cost import Cost, Growth

#: inputs and names of outputs → outputs
Compute = Callable[[dict[str, Array], Sequence[str]], list[Array]]


class Run:
    """`outputs` has one dict for each request, and is empty if there is an `error`. Times as of a request's; `busy` is
    how long the model was at it: in a worker thread the processor's time, which no wait for the interpreter's lock
    makes longer."""

    __slots__ = ("busy", "delivered", "elements", "ended", "error", "outputs", "ready", "requests", "rows", "started")

    def __init__(self, requests: list[InferRequest]) -> None:
        self.requests = requests
        self.rows = sum(request.rows for request in requests)
        self.elements = 0
        self.outputs: list[dict[str, Array]] = []
        self.error: Exception | None = None
        self.started = 0
        self.ready = 0
        self.ended = 0
        self.busy = 0
        self.delivered = False

    def execute(self, compute: Compute, signature: Signature, *, in_worker: bool = False) -> None:
        """Raises what `compute` raises, and Internal where outputs of a merged run do not have its rows."""
        requests = self.requests
        first = requests[0]
        self.started = time.perf_counter_ns()
        names: Sequence[str] = first.outputs or signature.output_names
        inputs = first.inputs
        if len(requests) > 1:
            if any(request.outputs != first.outputs for request in requests):
                names = signature.output_names
            inputs = {name: np.concatenate([request.inputs[name] for request in requests]) for name in signature.inputs}
        self.elements = sum(array.size for array in inputs.values())
        busy = time.thread_time_ns() if in_worker else 0
        self.ready = time.perf_counter_ns()
        arrays = compute(inputs, names)
        self.ended = time.perf_counter_ns()
        self.busy = time.thread_time_ns() - busy if in_worker else self.ended - self.ready
        if len(requests) == 1:
            self.outputs = [dict(zip(names, arrays, strict=True))]
        else:
            self._share(names, arrays, signature)

    def _share(self, names: Sequence[str], arrays: list[Array], signature: Signature) -> None:
        if any(array.shape[:1] != (self.rows,) for array in arrays):
            raise Internal("an output of a merged batch does not have its rows")
        at = 0
        for request in self.requests:
            end = at + request.rows
            wanted = request.outputs or signature.output_names
            rows = {name: array[at:end] for name, array in zip(names, arrays, strict=True)}
            self.outputs.append(rows if wanted == names else {name: rows[name] for name in wanted})
            at = end

    def record(self, cost: Cost, growth: Growth, statistics: Statistics, *, merges: bool) -> None:
        """What is learned of it. On the event loop's thread."""
        infer_ns = self.ended - self.ready
        cost.record(self.elements, infer_ns)
        if merges:
            growth.record(self.rows, self.busy)
        statistics.executed(self.rows, self.ready - self.started, infer_ns, 0)

    def responses(self) -> list[tuple[InferRequest, InferResponse]]:
        pairs = []
        for request, outputs in zip(self.requests, self.outputs, strict=True):
            model, version = request.handle.id
            pairs.append((request, InferResponse(model, version, request.id, outputs)))
        return pairs


def shape_key(request: InferRequest, signature: Signature) -> Any:
    """What requests must agree on to be merged: their dimensions but the first."""
    if not signature.ragged:
        return None
    return [request.inputs[name].shape[1:] for name in signature.inputs]


def as_error(error: Exception) -> SluiceError:
    """What the caller hears of it. The cause of what was not foreseen is for the log."""
    if isinstance(error, SluiceError):
        return error
    failure = Internal("the model failed; the server's log has the reason")
    failure.__cause__ = error
    return failure
