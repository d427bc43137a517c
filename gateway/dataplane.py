"""The path of a prediction: choose the version, pin it, let it answer, count it, let it go.

Every transport comes through here. `submit` is synchronous, because a task and a tick of the event loop per request
cost a third of the throughput at one connection; `infer` is the same for those who would rather await.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from functools import partial

from gateway.core.errors import Internal, SluiceError
from gateway.core.infer import Done, InferRequest, InferResponse, Outcome, nobody
from gateway.core.signature import Signature
from gateway.models.manager import Manager
from gateway.routing.split import Splits

logger = logging.getLogger("sluice.dataplane")


class Dataplane:
    """Belongs to the event loop's thread, as do the callbacks that it calls."""

    def __init__(self, manager: Manager, splits: Splits) -> None:
        self._manager = manager
        self._splits = splits

    def submit(self, request: InferRequest, done: Done) -> None:
        """Calls `done` exactly once, with a response or an error: at once where the model runs inline, else later.

        Never raises.
        """
        model = request.model
        version = request.version
        try:
            if not version and (split := self._splits.get(model)) is not None:
                version = split.pick(request.key or request.id, self._manager.present(model))
            handle = self._manager.acquire(model, version)
        except SluiceError as error:
            done(error)
            return
        request.done = done
        request.handle = handle
        request.queued = time.perf_counter_ns()
        try:
            handle.servable.submit(request, self._settle)
        except SluiceError as error:
            self._settle(request, error)
        except Exception as error:
            logger.exception("request %r to %s failed", request.id, handle.id)
            self._settle(request, _internal(error))

    def resolve(self, model: str, version: str, key: str) -> tuple[str, Signature]:
        """The version to submit a request to that only a signature can decode. Raises NotFound, Unavailable."""
        if not version and (split := self._splits.get(model)) is not None:
            version = split.pick(key, self._manager.present(model))
        handle = self._manager.acquire(model, version)
        try:
            return version, handle.servable.signature
        finally:
            handle.release()

    def is_split(self, model: str) -> bool:
        return model in self._splits

    def groups(self, model: str, keys: Iterable[str]) -> dict[str, list[int]]:
        """Who answers for each of these keys by the model's split: version or label → the indexes of its keys."""
        return self._splits[model].groups(keys, self._manager.present(model))

    async def infer_all(self, requests: Sequence[InferRequest]) -> list[Outcome]:
        """Of requests that are submitted together, in their order. Cancelling the task cancels them."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        outcomes: list[Outcome | None] = [None] * len(requests)
        left = len(requests)

        def settle(at: int, outcome: Outcome) -> None:
            nonlocal left
            outcomes[at] = outcome
            left -= 1
            if not left and not future.done():
                future.set_result(None)

        for at, request in enumerate(requests):
            self.submit(request, partial(settle, at))
        try:
            if left:
                await future
        except asyncio.CancelledError:
            for request in requests:
                self.cancel(request)
            raise
        return [outcome for outcome in outcomes if outcome is not None]

    def cancel(self, request: InferRequest) -> None:
        """The caller went away: what still waits in a queue never runs."""
        if request.handle is not None:
            request.handle.servable.cancel(request)

    async def infer(self, request: InferRequest) -> InferResponse:
        """Raises SluiceError. Cancelling the task cancels the request."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        self.submit(request, done)
        try:
            outcome = await future
        except asyncio.CancelledError:
            self.cancel(request)
            raise
        if isinstance(outcome, SluiceError):
            raise outcome
        return outcome

    def _settle(self, request: InferRequest, outcome: Outcome) -> None:
        handle = request.handle
        try:
            request.done(outcome)
        except Exception:
            # it has had its one call: nobody else may be told, and the version must not stay pinned
            logger.exception("the answer of %s could not be given", handle.id, extra={"request_id": request.id})
        # who waited holds the request, and this holds him: the tensors would be the garbage collector's to free
        request.done = nobody
        if isinstance(outcome, InferResponse):
            handle.statistics.succeeded(request)
        else:
            handle.statistics.failed(request, outcome)
            if isinstance(outcome, Internal) and outcome.__cause__ is not None:
                logger.error(
                    "%s failed: %s", handle.id, outcome.message,
                    exc_info=outcome.__cause__, extra={"request_id": request.id},
                )  # fmt: skip
        handle.release()


def _internal(cause: Exception) -> Internal:
    error = Internal("the request failed; the server's log has the reason")
    error.__cause__ = cause
    return error
