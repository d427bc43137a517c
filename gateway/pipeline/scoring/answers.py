"""The answers of one version to many records: in pieces that it takes, and without those that it cannot answer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from gateway.codecs.records.columns import MODEL, VERSION, Columns, objects
from gateway.core.errors import Internal, SluiceError, Unavailable
from gateway.core.infer import InferRequest, InferResponse
from gateway.core.signature import Signature
from gateway.core.stream import at_fault
from gateway.core.tensor import Array
from gateway.dataplane import Dataplane

#: requests that are submitted together: a queue of the model's holds more
_WINDOW: Final = 64
Piece = tuple[int, int]


class Answers:
    """Asks for all records at once, or in pieces of the model's largest batch; without a batch axis, one by one.

    A piece that fails as a whole is halved, so that a record at fault costs only itself.

    inputs  name → [rows, …] of all the records
    counts  how many of the rows each record has; None: one
    """

    def __init__(
        self,
        dataplane: Dataplane,
        model: str,
        version: str,
        signature: Signature,
        inputs: dict[str, Array],
        counts: Array | None,
    ) -> None:
        self._dataplane: Final = dataplane
        self._model: Final = model
        self._version: Final = version
        self._signature: Final = signature
        self._inputs: Final = inputs
        self._ends: Final = None if counts is None else np.cumsum(counts)
        self._answered: Final[list[tuple[Piece, InferResponse]]] = []
        self.errors: Final[dict[int, str]] = {}

    async def ask(self, records: int) -> None:
        """Raises what is no record's fault."""
        left = deque(self._pieces(records))
        while left:
            pieces = [left.popleft() for _ in range(min(len(left), _WINDOW))]
            requests = [self._request(piece) for piece in pieces]
            outcomes = await self._dataplane.infer_all(requests)
            for piece, outcome in zip(pieces, outcomes, strict=True):
                if isinstance(outcome, InferResponse):
                    outcome = self._checked(piece, outcome)
                if isinstance(outcome, InferResponse):
                    self._answered.append((piece, outcome))
                    continue
                if not at_fault(outcome) or self._was_replaced():
                    raise outcome if not at_fault(outcome) else _replaced(self._model)
                begin, end = piece
                if end - begin == 1:
                    self.errors[begin] = outcome.message
                else:
                    middle = (begin + end) // 2
                    left.extend([(begin, middle), (middle, end)])
        self._answered.sort(key=lambda found: found[0])

    def _was_replaced(self) -> bool:
        """The version that a label names, or the signature of one, has changed since the inputs were made."""
        return self._dataplane.resolve(self._model, self._version, "")[1] is not self._signature

    def _pieces(self, records: int) -> list[Piece]:
        if not records:
            return []
        signature = self._signature
        if not signature.batched:
            return [(at, at + 1) for at in range(records)]
        most = signature.max_batch_size
        if not most:
            return [(0, records)]
        if self._ends is None:
            return [(at, min(at + most, records)) for at in range(0, records, most)]
        pieces, begin, rows = [], 0, 0
        for at, end in enumerate(self._ends.tolist()):
            if end - rows > most and at > begin:
                pieces.append((begin, at))
                begin, rows = at, int(self._ends[at - 1])
        return [*pieces, (begin, records)]

    def _rows(self, piece: Piece) -> Piece:
        if self._ends is None:
            return piece
        begin, end = piece
        return (int(self._ends[begin - 1]) if begin else 0), int(self._ends[end - 1])

    def _request(self, piece: Piece) -> InferRequest:
        begin, end = self._rows(piece)
        if self._signature.batched:
            inputs = {name: array[begin:end] for name, array in self._inputs.items()}
        else:
            # a first axis of 1, or of any size, is kept
            inputs = {
                name: array[begin:end] if self._signature.inputs[name].shape[:1] in ((1,), (-1,)) else array[begin]
                for name, array in self._inputs.items()
            }
        request = InferRequest(self._model, self._version, "", inputs)
        request.arrived = time.perf_counter_ns()
        return request

    def _checked(self, piece: Piece, response: InferResponse) -> InferResponse | SluiceError:
        if not self._signature.batched:
            return response
        begin, end = self._rows(piece)
        for name, array in response.outputs.items():
            if array.shape[:1] != (end - begin,):
                return Internal(f"output '{name}' has {list(array.shape)[:1]} rows for {end - begin} records")
        return response

    def outputs(self) -> dict[str, Array]:
        """Those of the records without an error, in their order, and MODEL and VERSION of each row."""
        answered = self._answered
        if len(answered) == 1:
            piece, response = answered[0]
            rows = self._count(piece)
            outputs = response.outputs if self._signature.batched else _stacked(answered)
            return {
                **outputs,
                MODEL: _same(self._model, rows),
                VERSION: _same(response.version, rows),
            }
        sizes = [self._count(piece) for piece, _ in answered]
        outputs = _concatenated(self._signature, answered) if self._signature.batched else _stacked(answered)
        versions = objects([response.version for _, response in answered]).repeat(sizes)
        return {**outputs, MODEL: np.full(len(versions), self._model, object), VERSION: versions}

    def _count(self, piece: Piece) -> int:
        begin, end = self._rows(piece)
        return end - begin


def _same(value: str, rows: int) -> Array:
    """One object for all rows, which cannot be written to."""
    return np.broadcast_to(np.array(value, object), (rows,))


def _replaced(model: str) -> Unavailable:
    return Unavailable(f"model '{model}' was replaced while it was asked")


def _concatenated(signature: Signature, answered: Sequence[tuple[Piece, InferResponse]]) -> dict[str, Array]:
    if not answered:
        return {
            spec.name: np.empty((0, *(max(size, 0) for size in spec.shape[1:])), spec.datatype.dtype)
            for spec in signature.outputs.values()
        }
    return {name: _joined([response.outputs[name] for _, response in answered]) for name in answered[0][1].outputs}


def _stacked(answered: Sequence[tuple[Piece, InferResponse]]) -> dict[str, Array]:
    """Of a model without a batch axis: one response a record. A first axis of 1 is no more than that."""
    found: dict[str, Array] = {}
    for name in answered[0][1].outputs if answered else ():
        arrays = [response.outputs[name] for _, response in answered]
        arrays = [array[0] if array.shape[:1] == (1,) else array for array in arrays]
        same = len({array.shape for array in arrays}) == 1
        found[name] = np.stack(arrays) if same else objects([array.tolist() for array in arrays])
    return found


def _joined(arrays: Sequence[Array]) -> Array:
    """Along dim 0. Rows of different shapes become lists."""
    if len({array.shape[1:] for array in arrays}) == 1:
        return np.concatenate(arrays)
    return objects([row for array in arrays for row in array.tolist()])


def spread(columns: Columns, parts: Sequence[tuple[Array, Array | None, dict[str, Array]]]) -> dict[str, Array]:
    """Answers of several versions in the order of the records, of those without an error.

    A part is the indexes of its records, how many rows each has, and their outputs.
    """
    parts = [part for part in parts if len(part[0])] or list(parts[:1])
    names: list[Any] = [set(outputs) for _, _, outputs in parts]
    if any(found != names[0] for found in names):
        raise Unavailable("the versions of the split have different outputs, which cannot be written together")
    records = np.concatenate([records for records, _, _ in parts])
    counts = None if columns.counts is None else np.concatenate([c for _, c, _ in parts if c is not None])
    where = np.argsort(records, kind="stable")
    at = Columns(len(records), {}, counts=counts).rows_of(where)
    return {name: _joined([outputs[name] for _, _, outputs in parts])[at] for name in parts[0][2]}
