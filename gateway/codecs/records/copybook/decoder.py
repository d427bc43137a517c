"""Records of a copybook to columns: fields of one form are gathered and read together, whatever their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from gateway.codecs.records.charset import UNREADABLE
from gateway.codecs.records.columns import Columns, Field, Kind, rows_where
from gateway.codecs.records.copybook.counts import Counts, misfit
from gateway.codecs.records.copybook.edited import shown_numbers
from gateway.codecs.records.copybook.form import Conventions
from gateway.codecs.records.copybook.gather import Group, groups, kind_of, wanted_field
from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.codecs.records.copybook.leaf import Leaf
from gateway.codecs.records.copybook.presence import Presence
from gateway.codecs.records.matrix import matrix, strings
from gateway.core.tensor import Array


class CopybookDecoder:
    """Reads the wanted fields alone: what else the bytes hold, other meanings of redefined ones say, does not matter.

    Fields are named as in `RecordLayout.find`; none given: all that have a name and redefine nothing. A column is int64
    where a number has no decimals, float64 where it has some, or more than 18 digits (the nearest one up to 15 digits,
    beyond them one near it); a table's is [rows, *dims], and not valid beyond the end of a variable one.
    """

    def __init__(
        self, layout: RecordLayout, fields: Sequence[Field] | None = None, conventions: Conventions | None = None
    ) -> None:
        """Raises InvalidArgument for a field that the record lacks or that has another kind."""
        self._layout: Final = layout
        self._form: Final = conventions or Conventions()
        if fields is None:
            fields = [Field(leaf.name) for leaf in layout.named()]
        self.wanted: Final = tuple(wanted_field(layout, field) for field in fields)
        self._groups: Final = groups(layout, self.wanted)
        self._empty: Final = self._form.empty(layout, layout.most)
        self._presence: Final = Presence(layout)
        self._counts: Final = Counts(layout, self._form, self._presence)

    def decode(self, values: Sequence[bytes | None]) -> Columns:
        columns = Columns(len(values), {})
        if not self._layout.counters:
            self._read(columns, matrix(_fitting(values, self._empty.tobytes(), columns), self._layout.size))
            return columns
        counts = self._counts.read(values, columns)
        self._read(columns, self._spread(values, counts, columns))
        for wanted in self.wanted:
            if wanted.leaf.varies:
                there = wanted.present(counts).reshape(columns.rows, *wanted.shape)
                self._limit(columns, wanted.name, there)
        return columns

    def _spread(self, values: Sequence[bytes | None], counts: Array, columns: Columns) -> Array:
        """[rows, size] with every table at its full length, so that all records have the same places."""
        there = self._presence.of(counts)
        size = self._layout.size
        sizes = there.sum(axis=1).tolist() if self._layout.slide else [size] * columns.rows
        data = np.repeat(self._empty[None], columns.rows, axis=0)
        fitting: list[bytes] = []
        rows: list[int] = []
        for row, value in enumerate(values):
            if row in columns.errors:
                continue
            if value is None or len(value) != sizes[row]:
                columns.blame(row, misfit(value, sizes[row]))
                continue
            fitting.append(value)
            rows.append(row)
        if len(rows) < columns.rows:
            there[sorted(columns.errors)] = False
        if self._layout.slide:
            data[there] = np.frombuffer(b"".join(fitting), np.uint8)
        else:
            data[rows] = np.where(there[rows], matrix(fitting, size), data[rows])
        return data

    @staticmethod
    def _limit(columns: Columns, name: str, there: Array) -> None:
        """What a record does not have is missing."""
        if there.all():
            return
        valid = columns.valid.get(name)
        columns.valid[name] = there if valid is None else valid & there
        array = columns.fields[name]
        if array.dtype.kind == "f":
            array[~there] = np.nan

    def _read(self, columns: Columns, data: Array) -> None:
        for group in self._groups:
            leaf, count = group.leaf, len(group.starts)
            part = group.gather(data)
            valid = None
            if leaf.numeric:
                found, bad = self._form.read(leaf, part)
                values = _scaled(leaf, found)
                if bad is not None:
                    missing = self._judge(columns, group, part, bad)
                    if missing is not None:
                        valid = ~missing.reshape(count, columns.rows)
                        if values.dtype.kind == "f":
                            values[missing] = np.nan
            else:
                values = self._texts(columns, group, part)
                if self._form.blanks:
                    values = np.fromiter((text.rstrip(" \0") for text in values.tolist()), object, len(values))
                if leaf.justified:
                    values = np.fromiter((text.lstrip(" ") for text in values.tolist()), object, len(values))
                if group.parts[0][0].kind is Kind.NUMBER:
                    values, valid = shown_numbers(columns, group.parts[0][0].name, values, count)
            values = values.reshape(count, columns.rows)
            for wanted, own in group.parts:
                shape = (columns.rows, *wanted.shape)
                columns.fields[wanted.name] = values[own].T.reshape(shape)
                if valid is not None and not valid[own].all():
                    columns.valid[wanted.name] = valid[own].T.reshape(shape)

    def _texts(self, columns: Columns, group: Group, part: Array) -> Array:
        ((wanted, _),) = group.parts
        if not group.leaf.picture.national:
            return strings(columns, wanted.name, part, self._form.charset)
        found = []
        for at, data in enumerate(part):
            text = data.tobytes().decode("utf-16-be", "replace")
            if UNREADABLE in text:
                shown = data.tobytes()[:32].hex()
                columns.blame(at % columns.rows, f"field '{wanted.name}' holds {shown}, which is not UTF-16")
            found.append(text.rstrip(" "))
        return np.fromiter(found, object, len(found))

    def _judge(self, columns: Columns, group: Group, part: Array, bad: Array) -> Array | None:
        """Blames records for what is no number; returns where a number is missing, [elements * rows]."""
        leaf, missing = group.leaf, None
        if leaf.blank_zero:
            bad = bad & ~self._form.is_blank(leaf, part)
        if self._form.blanks:
            unset = bad & self._form.is_unset(leaf, part)
            bad, missing = bad & ~unset, unset if unset.any() else None
        for at in rows_where(bad):
            element, row = divmod(at, columns.rows)
            wanted, own = next(part for part in group.parts if part[1].start <= element < part[1].stop)
            index = f"({element - own.start + 1})" if own.stop - own.start > 1 else ""
            columns.blame(row, f"field '{wanted.name}'{index} {self._form.reason(leaf, part[at].tobytes())}")
        return missing


def _fitting(values: Sequence[bytes | None], empty: bytes, columns: Columns) -> list[bytes]:
    """The values, with an empty record in the place of each that has not its length, which is blamed."""
    size = len(empty)
    found = [value for value in values if value is not None and len(value) == size]
    if len(found) == len(values):
        return found
    fitting: list[bytes] = []
    for row, value in enumerate(values):
        if value is None or len(value) != size:
            columns.blame(row, misfit(value, size))
            value = empty
        fitting.append(value)
    return fitting


def _scaled(leaf: Leaf, found: Array) -> Array:
    scale = leaf.picture.scale
    if kind_of(leaf) is Kind.INTEGER:
        whole = found.astype(np.int64, copy=False)
        return whole * 10**-scale if scale < 0 else whole
    if scale > 0:
        return found / 10.0**scale
    return found * 10.0**-scale if scale else found.astype(np.float64, copy=False)
