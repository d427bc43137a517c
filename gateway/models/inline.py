"""Runs small requests on the event loop: one by one as they come, or those of one turn of the loop together.

A request that comes alone runs at once. When many clients are served, each turn of the loop reads from many
connections; then what was read is collected until the turn's end and merged into one run. That costs a lone client
nothing, and for a small tree under 64 connections it halves the time of a request: the run is shared, and each stage
finds its code and data in the processor's caches, which decoding, running and encoding one by one evict in turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from gateway.core.errors import SluiceError
from gateway.core.infer import RUNNING, InferRequest, InferResponse
from gateway.core.observe import Statistics
from gateway.core.servable import Executable, Settle
from gateway.models.cost import Cost, Growth
from gateway.models.run import Run, as_error, shape_key

#: a request that arrived so soon after the one before was computed was read in the same turn of the loop
NEAR_NS: Final = 50_000
#: so many in a row are a crowd; so many turns with a lone request end it
CROWD: Final = 4
LONELY: Final = 2


class Inline:
    """Belongs to the event loop's thread.

    limit_ns   the most that one run may take, as far as it can be predicted
    merges     requests may be merged
    """

    def __init__(
        self,
        executable: Executable,
        cost: Cost,
        growth: Growth,
        statistics: Statistics,
        *,
        limit_ns: float,
        merges: bool,
    ) -> None:
        self._signature: Final = executable.signature
        self._compute: Final = executable.run
        self._cost: Final = cost
        self._growth: Final = growth
        self._statistics: Final = statistics
        self._limit_ns: Final = limit_ns
        self._merges: Final = merges
        self._loop: Final = asyncio.get_running_loop()
        self._collects = False
        self._collected: list[InferRequest] = []
        self._computed = 0
        self._near = 0
        self._lonely = 0

    def submit(self, request: InferRequest, elements: int, settle: Settle) -> None:
        if not self._collects:
            self._run_alone(request, elements, settle)
            return
        request.settle = settle
        request.state = RUNNING
        self._collected.append(request)
        if len(self._collected) == 1:
            self._loop.call_soon(self._turn_ends)

    def _run_alone(self, request: InferRequest, elements: int, settle: Settle) -> None:
        names = request.outputs or self._signature.output_names
        request.started = started = time.perf_counter_ns()
        try:
            arrays = self._compute(request.inputs, names)
        except SluiceError as error:
            request.computed = time.perf_counter_ns()
            settle(request, error)
            return
        request.computed = computed = time.perf_counter_ns()
        self._cost.record(elements, computed - started)
        self._statistics.executed(request.rows, 0, computed - started, 0)
        self._watch(request.arrived, computed)
        model, version = request.handle.id
        settle(request, InferResponse(model, version, request.id, dict(zip(names, arrays))))  # noqa: B905 - strict costs

    def _watch(self, arrived: int, computed: int) -> None:
        """Is it becoming a crowd?"""
        if arrived - self._computed > NEAR_NS:
            self._near = 0
        elif self._merges:
            self._near += 1
            self._collects = self._near >= CROWD and self._growth.limit > 1
        self._computed = computed

    def _turn_ends(self) -> None:
        requests, self._collected = self._collected, []
        self._lonely = self._lonely + 1 if len(requests) == 1 else 0
        if self._lonely >= LONELY or self._growth.limit == 1:
            self._collects = False
            self._near = self._lonely = 0
        for group in self._groups(requests):
            self._run(group)

    def _groups(self, requests: list[InferRequest]) -> Iterator[list[InferRequest]]:
        """Neighbours that can be merged, as far as the run stays brief."""
        group: list[InferRequest] = []
        rows = elements = 0
        key = None
        for request in requests:
            size = sum(array.size for array in request.inputs.values())
            if group and (
                rows + request.rows > self._growth.limit
                or self._cost.predict(elements + size) > self._limit_ns
                or shape_key(request, self._signature) != key
            ):
                yield group
                group, rows, elements = [], 0, 0
            if not group:
                key = shape_key(request, self._signature)
            group.append(request)
            rows += request.rows
            elements += size
        yield group

    def _run(self, requests: list[InferRequest]) -> None:
        run = Run(requests)
        try:
            run.execute(self._compute, self._signature)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others of the turn are answered
            self._failed(requests, error)
            return
        run.record(self._cost, self._growth, self._statistics, merges=True)
        for request, response in run.responses():
            request.started, request.computed = run.started, run.ended
            request.settle(request, response)

    def _failed(self, requests: list[InferRequest], error: Exception) -> None:
        """One bad request costs only itself."""
        if len(requests) > 1:
            for request in requests:
                self._run([request])
            return
        (request,) = requests
        request.started = request.computed = time.perf_counter_ns()
        request.settle(request, as_error(error))
