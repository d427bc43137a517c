"""How many elements the variable tables of each record have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from gateway.codecs.records.columns import TOMBSTONE, Columns, rows_where
from gateway.codecs.records.copybook.form import Conventions
from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.codecs.records.copybook.leaf import Leaf
from gateway.codecs.records.copybook.presence import Presence
from gateway.codecs.records.matrix import matrix
from gateway.core.tensor import Array


class Counts:
    """Most counters lie at the same place in all records; those behind a variable table where its count puts them."""

    def __init__(self, layout: RecordLayout, form: Conventions, presence: Presence) -> None:
        self._layout: Final = layout
        self._form: Final = form
        self._presence: Final = presence
        few, many = layout.place(layout.least), layout.place(layout.most)
        self._starts: Final = [int(many.starts[leaf.order]) for leaf in layout.counters]
        self._fixed: Final = [int(few.starts[leaf.order]) == int(many.starts[leaf.order]) for leaf in layout.counters]
        self._head: Final = max(
            (
                start + leaf.width
                for leaf, start, fixed in zip(layout.counters, self._starts, self._fixed, strict=True)
                if fixed
            ),
            default=0,
        )
        self._least: Final = max(few.size, self._head)

    def read(self, values: Sequence[bytes | None], columns: Columns) -> Array:
        """[rows, tables]; records whose counters cannot be read are blamed, and have the least."""
        layout, size = self._layout, self._head
        heads = []
        for row, value in enumerate(values):
            if value is None or len(value) < size:
                columns.blame(row, misfit(value, self._least))
                value = bytes(size)
            heads.append(value[:size])
        data = matrix(heads, size)
        counts = np.empty((columns.rows, len(layout.counters)), np.int64)
        for at, (leaf, start, fixed) in enumerate(zip(layout.counters, self._starts, self._fixed, strict=True)):
            if fixed:
                part = np.ascontiguousarray(data[:, start : start + leaf.width])
            else:
                part = self._moved(values, counts[:, :at], leaf, start, columns)
            counts[:, at] = self._checked(at, leaf, part, columns)
        return counts

    def _moved(self, values: Sequence[bytes | None], before: Array, leaf: Leaf, start: int, columns: Columns) -> Array:
        """The bytes of a counter that lies behind tables. `start`: its place in the longest record."""
        part = np.zeros((columns.rows, leaf.width), np.uint8)
        for row, at in enumerate(self._presence.of(before, start).sum(axis=1).tolist()):
            value = values[row] or b""
            if row in columns.errors:
                continue
            if len(value) < at + leaf.width:
                known = (*before[row].tolist(), *self._layout.least[before.shape[1] :])
                columns.blame(row, misfit(value, self._layout.place(known).size))
                continue
            part[row] = np.frombuffer(value, np.uint8, leaf.width, at)
        return part

    def _checked(self, at: int, leaf: Leaf, part: Array, columns: Columns) -> Array:
        least, most = self._layout.least[at], self._layout.most[at]
        found, bad = self._form.read(leaf, part)
        found = found.astype(np.int64) * 10**-leaf.picture.scale
        wrong = (found < least) | (found > most) if bad is None else (found < least) | (found > most) | bad
        for row in rows_where(wrong):
            holds = bad is not None and bool(bad[row])
            data = part[row].tobytes()
            what = f"holds {data.hex()}" if holds else f"is {found[row]}"
            hint = self._form.hint(leaf, data) if holds else ""
            columns.blame(row, f"field '{leaf.name}' {what}, expected the {least} to {most} of its table{hint}")
        return np.where(wrong, least, found)


def misfit(value: bytes | None, size: int) -> str:
    """The reason why a record of this length is none."""
    if value is None:
        return TOMBSTONE
    what = "truncated" if len(value) < size else "too long"
    return f"the record is {what}: it has {len(value)} bytes, expected {size}"
