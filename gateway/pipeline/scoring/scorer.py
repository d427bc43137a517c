"""Scores a batch of records: bytes to columns, columns to a model's inputs, its outputs to bytes again.

The whole way is columnar: what is done for each record by itself is done for those at fault only.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np

from gateway.codecs.records.columns import VERSION, Columns, Decoder, Encoder
from gateway.codecs.records.mapping import Mapping
from gateway.core.crashpoint import crash
from gateway.core.errors import InvalidArgument, SluiceError, Unavailable
from gateway.core.signature import Signature
from gateway.core.stream import Batch, taken
from gateway.core.tensor import Array
from gateway.dataplane import Dataplane
from gateway.pipeline.scoring.answers import Answers, spread
from gateway.pipeline.scoring.scored import Scored
from gateway.pipeline.scoring.stamp import stamped

logger = logging.getLogger("sluice.streams")


class WholeRequests(Protocol):
    """A decoder of records that are requests themselves: nothing is mapped."""

    def decode(self, values: Sequence[bytes | None]) -> Columns: ...

    def inputs(self, columns: Columns) -> dict[str, Array]: ...


class Scorer:
    """Belongs to the event loop's thread; batches may be scored at the same time.

    version    a number, a label, or "" for the traffic split to decide by each record's key, else its id
    mapping    None: the decoder has the inputs itself
    signature  that `decoder` was made for: a version that takes anything else is waited for to go away
    stamp      results carry the model and version that answered in their headers
    """

    def __init__(
        self,
        dataplane: Dataplane,
        model: str,
        version: str,
        decoder: Decoder | WholeRequests,
        mapping: Mapping | None,
        encoder: Encoder,
        *,
        signature: Signature | None = None,
        stamp: bool = True,
    ) -> None:
        self._dataplane: Final = dataplane
        self._model: Final = model
        self._version: Final = version
        self._decoder: Final = decoder
        self._mapping: Final = mapping
        self._encoder: Final = encoder
        self._signature = signature
        self._stamp: Final = stamp
        self._known: Signature | None = None

    @property
    def answers(self) -> str:
        return f"{self._model}/{self._version}" if self._version else self._model

    async def score(self, batch: Batch) -> Scored:
        """Of at least one record. Raises SluiceError where none is at fault, but the model is not there, or not as it
        should be.

        A record that a codec breaks down on is found by halves: it is a dead letter, and not the end of the pipeline.
        """
        try:
            return await self._score(batch)
        except SluiceError:
            raise
        except Exception as error:
            if len(batch) == 1:
                logger.exception("model '%s': record '%s' cannot be scored", self._model, batch.ids[0])
                return Scored(Batch((), ()), (), {0: f"it cannot be scored: {type(error).__name__}: {error}"[:500]})
        middle = len(batch) // 2
        return _joined(
            await self.score(batch.part(0, middle)), middle, await self.score(batch.part(middle, len(batch)))
        )

    async def _score(self, batch: Batch) -> Scored:
        columns = self._decode(batch)
        if crash is not None:
            crash.reach("after-decode")
        if not self._version and self._dataplane.is_split(self._model):
            answers = await self._by_split(columns, batch)
        else:
            answers = await self._answer(columns, self._version)
        if crash is not None:
            crash.reach("after-predict")
        return self._encode(batch, columns, answers)

    def _decode(self, batch: Batch) -> Columns:
        """What the source says of a record that it cannot give whole is said of it, whatever its bytes look like."""
        values = batch.values
        if batch.faults:
            values = [None if row in batch.faults else value for row, value in enumerate(values)]
        try:
            columns = self._decoder.decode(values)
        except InvalidArgument as error:
            # of the batch as a whole: a column that is gone, say
            raise Unavailable(f"the records cannot be read: {error.message}") from None
        columns.errors.update(batch.faults)
        return columns

    async def _by_split(self, columns: Columns, batch: Batch) -> dict[str, Array]:
        groups = self._dataplane.groups(self._model, _keys(batch))
        if len(groups) == 1:
            return await self._answer(columns, next(iter(groups)))
        parts = []
        for version, rows in groups.items():
            wanted = np.array([row for row in rows if row not in columns.errors], np.intp)
            part = columns.take(wanted)
            outputs = await self._answer(part, version)
            for row, reason in part.errors.items():
                columns.blame(int(wanted[row]), reason)
            parts.append((wanted[part.kept()], part.good().counts, outputs))
        return spread(columns, parts)

    async def _answer(self, columns: Columns, version: str) -> dict[str, Array]:
        """The outputs, and who gave them, for the rows that are not at fault at the end. Adds to the errors."""
        version, signature = self._dataplane.resolve(self._model, version, "")
        self._check(signature)
        inputs = self._inputs(columns, signature)
        kept = columns.kept()
        counts = None if columns.counts is None else columns.counts[kept]
        answers = Answers(self._dataplane, self._model, version, signature, inputs, counts)
        await answers.ask(len(kept))
        for row, reason in answers.errors.items():
            columns.blame(int(kept[row]), reason)
        return answers.outputs()

    def _inputs(self, columns: Columns, signature: Signature) -> dict[str, Array]:
        if self._mapping is not None:
            return self._mapping.apply(columns, signature)
        return self._decoder.inputs(columns)  # type: ignore[union-attr]

    def _check(self, signature: Signature) -> None:
        """Whether what the decoder reads is what this version takes."""
        if signature is self._known:
            return
        if self._signature is None:
            self._signature = signature
        expected = self._signature
        try:
            if self._mapping is None:
                fits = signature.inputs == expected.inputs
            else:
                fits = self._mapping.fields(signature) == self._mapping.fields(expected)
        except InvalidArgument as error:
            raise Unavailable(f"a version of model '{self._model}' does not fit the mapping: {error.message}") from None
        if not fits:
            raise Unavailable(f"a version of model '{self._model}' takes other inputs than the pipeline was made for")
        self._known = signature

    def _encode(self, batch: Batch, columns: Columns, answers: dict[str, Array]) -> Scored:
        if len(columns.errors) == len(batch):
            return Scored(Batch((), ()), (), columns.faults())
        good = columns.good().joined(answers)
        try:
            encoded = self._encoder.encode(good)
        except InvalidArgument as error:
            # a field that is to be written and is not there: of the configuration's making, or of another version's
            raise Unavailable(f"the answer of model '{self._model}' cannot be written: {error.message}") from None
        rows: list[int] = columns.kept().tolist()
        errors = columns.faults()
        values = encoded.values
        whole = batch
        if encoded.errors:
            errors = {**errors, **{rows[at]: reason for at, reason in encoded.errors.items()}}
            fine = [at for at in range(len(rows)) if at not in encoded.errors]
            values = taken(values, fine)
            rows = [rows[at] for at in fine]
            good = good.take(np.array(fine, np.intp))
        if len(rows) < len(batch):
            whole = batch.take(rows)
        headers = whole.headers
        if self._stamp:
            headers = stamped(whole, self._model, _answered(good))
        return Scored(Batch(whole.ids, values, whole.keys, headers, whole.timestamps), rows, errors)


def _joined(first: Scored, rows: int, second: Scored) -> Scored:
    """What came of two parts of a batch, the first of which has so many rows."""
    return Scored(
        Batch.joined([part.batch for part in (first, second) if len(part.batch)] or [first.batch]),
        [*first.rows, *(rows + row for row in second.rows)],
        {**first.errors, **{rows + row: reason for row, reason in second.errors.items()}},
    )


def _keys(batch: Batch) -> Sequence[str]:
    """What a split sticks to: the record's key as text, else its id."""
    if not batch.keys:
        return batch.ids
    return [
        name if key is None else key.decode("utf-8", "surrogateescape")
        for name, key in zip(batch.ids, batch.keys, strict=True)
    ]


def _answered(good: Columns) -> Array:
    """Who answered each record."""
    values = good.fields[VERSION]
    if good.counts is None:
        return values
    first: Array = values[np.cumsum(good.counts) - good.counts]
    return first
