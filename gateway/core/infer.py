"""A prediction's question and its answer, free of any protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.core.errors import SluiceError
from gateway.core.tensor import Array

Parameters = dict[str, Any]

# where a request is, as far as a queue is concerned
NEW, QUEUED, RUNNING, SETTLED = range(4)


class InferRequest:
    """One request, decoded once, then carried by reference from the protocol to the model.

    inputs    name → tensor
    outputs   the names asked for; empty: all of them
    version   a number, a label, or "" for the traffic split to decide
    key       what a split sticks to; "" for none (then `id` serves, then chance)
    timeout   seconds that it may wait in a queue, 0 for no limit
    meter     called with the number of rows before they are scored; what it raises is the answer
    done      called exactly once, on the event loop's thread, with a response or an error

    The times are `time.perf_counter_ns()`: `arrived` when its last byte was read, `queued` when it was decoded
    and admitted, `started` and `computed` round the model's run. `rows` and `nbytes` are set on admission, `handle`
    (what pins the version), `settle` (who hears of the outcome first) and `expiry` (the timer of `timeout`) by those
    who carry it.
    """

    # class attributes, not slots: most of them stay as they are until the request is on its way
    outputs: tuple[str, ...] = ()
    parameters: Parameters | None = None
    key = ""
    timeout = 0.0
    trace: Any = None
    arrived = queued = started = computed = 0
    rows = 1
    nbytes = 0
    state = NEW
    handle: Any = None
    meter: Callable[[int], None] | None = None
    settle: Any = None
    expiry: Any = None

    def __init__(self, model: str, version: str, id: str, inputs: dict[str, Array]) -> None:
        self.model = model
        self.version = version
        self.id = id
        self.inputs = inputs
        self.done: Done = nobody


class InferResponse:
    """The outputs in the order asked for, and the version that really answered."""

    __slots__ = ("id", "model", "outputs", "parameters", "version")

    def __init__(
        self,
        model: str,
        version: str,
        id: str,
        outputs: dict[str, Array],
        parameters: Parameters | None = None,
    ) -> None:
        self.model = model
        self.version = version
        self.id = id
        self.outputs = outputs
        self.parameters = parameters


Outcome = InferResponse | SluiceError
Done = Callable[[Outcome], None]


def nobody(outcome: Outcome) -> None:
    """The `done` of a request that is not submitted yet, or answered already."""
    raise AssertionError("there is nobody to answer")
