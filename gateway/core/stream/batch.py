"""Records as columns, as they are read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.core.stream.message import Headers, Message
from gateway.core.table import Table


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages as columns of equal length, in the order of their lane. Nothing in it is changed after it was read.

    ids         topic/partition/offset, primary key and version, message id, file hash and ordinal: the same when the
                record is delivered again, and what makes a repeat recognisable
    values      bytes, None a tombstone; a Table where the source has columns
    keys        what order is kept by, and what a split sticks to; () if no record has one
    headers     () if no record has any
    timestamps  ms since the epoch; () if no record has one
    faults      index → why the source cannot give that record whole (a line without end, a broken length): it is never
                decoded, and becomes a dead letter with what there is of it
    """

    ids: Sequence[str]
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None] = ()
    headers: Sequence[Headers] = ()
    timestamps: Sequence[int] = ()
    faults: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes of values, keys and headers, for the credits; of a Table, 8 a field."""
        total = sum(map(len, filter(None, self.keys)))
        if self.headers:
            total += sum(len(value) for headers in self.headers for _, value in headers)
        if isinstance(self.values, Table):
            return total + 8 * len(self.values) * len(self.values.names)
        return total + sum(map(len, filter(None, self.values)))

    def __getitem__(self, at: int) -> Message:
        return Message(
            self.ids[at],
            self.values[at],
            self.keys[at] if self.keys else None,
            self.headers[at] if self.headers else (),
            self.timestamps[at] if self.timestamps else 0,
        )

    def take(self, at: Sequence[int]) -> Batch:
        """The records at these indexes, in this order."""
        return Batch(
            [self.ids[i] for i in at],
            taken(self.values, at),
            [self.keys[i] for i in at] if self.keys else (),
            [self.headers[i] for i in at] if self.headers else (),
            [self.timestamps[i] for i in at] if self.timestamps else (),
            {row: self.faults[i] for row, i in enumerate(at) if i in self.faults} if self.faults else self.faults,
        )

    def part(self, start: int, stop: int) -> Batch:
        faults = {row - start: why for row, why in self.faults.items() if start <= row < stop} if self.faults else {}
        at = slice(start, stop)
        return Batch(self.ids[at], self.values[at], self.keys[at], self.headers[at], self.timestamps[at], faults)

    @staticmethod
    def joined(batches: Sequence[Batch]) -> Batch:
        """These batches of one lane as one, in their order."""
        if len(batches) == 1:
            return batches[0]
        return Batch(
            [name for batch in batches for name in batch.ids],
            _joined([batch.values for batch in batches]),
            _filled([(batch.keys, len(batch)) for batch in batches], None),
            _filled([(batch.headers, len(batch)) for batch in batches], ()),
            _filled([(batch.timestamps, len(batch)) for batch in batches], 0),
            _shifted(batches),
        )

    @staticmethod
    def of(messages: Sequence[Message]) -> Batch:
        return Batch(
            [m.id for m in messages],
            [m.value for m in messages],
            [m.key for m in messages] if any(m.key is not None for m in messages) else (),
            [m.headers for m in messages] if any(m.headers for m in messages) else (),
            [m.timestamp for m in messages] if any(m.timestamp for m in messages) else (),
        )


def taken(values: Sequence[Any], at: Sequence[int]) -> Sequence[Any]:
    """Those at these indexes, of a Table as a Table."""
    return values.take(at) if isinstance(values, Table) else [values[i] for i in at]


def _joined(values: Sequence[Sequence[bytes | None]]) -> Sequence[bytes | None]:
    tables = [table for table in values if isinstance(table, Table)]
    if len(tables) == len(values) and len({table.names for table in tables}) == 1:
        return Table.joined(tables)
    return [value for part in values for value in part]


def _filled(columns: Sequence[tuple[Sequence[Any], int]], nothing: Any) -> Sequence[Any]:
    if not any(len(column) for column, _ in columns):
        return ()
    return [value for column, rows in columns for value in (column or [nothing] * rows)]


def _shifted(batches: Sequence[Batch]) -> dict[int, str]:
    found, start = {}, 0
    for batch in batches:
        for row, reason in batch.faults.items():
            found[start + row] = reason
        start += len(batch)
    return found
