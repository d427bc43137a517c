"""What the dataplane needs of a model version. Words as in TensorFlow Serving's core."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

from gateway.core.infer import InferRequest, Outcome
from gateway.core.signature import Signature
from gateway.core.tensor import Array


class ServableId(NamedTuple):
    model: str
    version: str


class ServableState(Enum):
    """The states go one way: LOADING → READY → UNLOADING → UNAVAILABLE, or LOADING → UNAVAILABLE with a reason."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


class RunOptions(Protocol):
    """Belongs to one run; setting `terminate` from another thread ends that run with an error."""

    terminate: bool


class Executable(Protocol):
    """A loaded model that computes. `run` may be called from many threads at the same time."""

    @property
    def signature(self) -> Signature: ...

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], options: Any = None) -> list[Array]:
        """Returns the named outputs in that order.

        Raises InvalidArgument where the model refuses the values or dimensions, Internal where it failed.
        """
        ...

    def run_options(self) -> RunOptions: ...

    def close(self) -> None: ...


Settle = Callable[[InferRequest, Outcome], None]


class Servable(Protocol):
    """A model version that answers requests. All of it belongs to the event loop's thread."""

    @property
    def signature(self) -> Signature: ...

    def submit(self, request: InferRequest, settle: Settle) -> None:
        """Calls `settle` exactly once, now or later, on the event loop's thread.

        Raises SluiceError where it does not admit the request; `settle` is not called then.
        """
        ...

    def cancel(self, request: InferRequest) -> None:
        """Takes it out of the queue, if it still waits there, and settles it as Cancelled."""
        ...

    def pending(self) -> int:
        """How many requests wait in the queue."""
        ...

    async def close(self) -> None:
        """Waits for what runs, refuses the rest, frees the model."""
        ...
