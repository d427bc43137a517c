"""Records of a copybook to columns: fields of one form are gathered and read together, whatever their place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Final

import numpy as np

from gateway.codecs.records.charset import UNREADABLE
from gateway.codecs.records.columns import DTYPES, TOMBSTONE, Columns, Field, Kind, rows_where
from gateway.codecs.records.copybook.form import Conventions
from gateway.codecs.records.copybook.layout import Leaf, RecordLayout
from gateway.codecs.records.copybook.parser import Usage
from gateway.codecs.records.matrix import matrix, strings
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import Array


@dataclass(frozen=True, slots=True)
class Wanted:
    """A field that is read: a leaf, or one element of it. `elements` are flat indexes into the leaf's `dims`."""

    name: str
    leaf: Leaf
    kind: Kind
    elements: Array
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Group:
    """Fields whose bytes have the same form, read together.

    record  a record's bytes as a structure of the elements, each as bytes without a meaning
    parts   for each field which of the elements are its own, and which of its own those are (None: all)
    """

    leaf: Leaf
    record: np.dtype[np.void]
    parts: tuple[tuple[Wanted, slice, Array | None], ...]

    @property
    def elements(self) -> int:
        return len(self.record.names or ())

    def gather(self, data: Array) -> Array:
        """[rows, size] to [elements * rows, width]: half the time of an index of bytes."""
        rows, width = len(data), self.leaf.width
        records = np.ndarray(rows, self.record, data)
        names = self.record.names or ()
        part = np.empty((len(names), rows), f"V{width}")
        for at, name in enumerate(names):
            part[at] = records[name]
        return part.view(np.uint8).reshape(len(names) * rows, width)


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
        self.wanted: Final = tuple(_wanted(layout, field) for field in fields)
        self._groups: Final = lru_cache(maxsize=1024)(self._grouped)
        self._head: Final = max((self._start(leaf) + leaf.width for leaf in layout.counters), default=0)

    def decode(self, values: Sequence[bytes | None]) -> Columns:
        columns = Columns(len(values), {})
        if not self._layout.counters:
            fitting = _fitting(values, self._layout.size, columns)
            if fitting is not None:
                self._read(columns, matrix(fitting, self._layout.size), ())
        else:
            for counts, rows in self._by_counts(values, columns):
                self._read_some(columns, values, counts, rows)
        for wanted in self.wanted:
            if wanted.name not in columns.fields:
                self._reserve(columns, wanted)
        return columns

    def _read_some(
        self, columns: Columns, values: Sequence[bytes | None], counts: tuple[int, ...], rows: Sequence[int]
    ) -> None:
        size = self._layout.place(counts).size
        part = Columns(len(rows), {})
        fitting = _fitting([values[row] for row in rows], size, part)
        if fitting is not None:
            self._read(part, matrix(fitting, size), counts)
            self._merge(columns, part, np.array(rows, np.intp))
        for row, reason in part.errors.items():
            columns.blame(rows[row], reason)

    def _start(self, leaf: Leaf) -> int:
        return int(self._layout.place(self._layout.most).starts[leaf.order])

    def _by_counts(
        self, values: Sequence[bytes | None], columns: Columns
    ) -> Iterable[tuple[tuple[int, ...], Sequence[int]]]:
        """The rows by what their variable tables count; those whose counters cannot be read are blamed."""
        layout = self._layout
        rows = [row for row, value in enumerate(values) if value is not None and len(value) >= self._head]
        if len(rows) < columns.rows:
            for row in set(range(columns.rows)).difference(rows):
                columns.blame(row, _misfit(values[row], max(self._head, layout.place(layout.least).size)))
        heads = matrix([(values[row] or b"")[: self._head] for row in rows], self._head)
        counts = np.empty((len(rows), len(layout.counters)), np.int64)
        good = np.ones(len(rows), np.bool_)
        for at, (leaf, least, most) in enumerate(zip(layout.counters, layout.least, layout.most, strict=True)):
            start = self._start(leaf)
            part = heads[:, start : start + leaf.width]
            found, bad = self._form.read(leaf, part)
            counts[:, at] = np.where(bad, -1, found) if bad is not None else found
            counts[:, at] *= 10**-leaf.picture.scale
            wrong = (counts[:, at] < least) | (counts[:, at] > most) | (False if bad is None else bad)
            good &= ~wrong
            for index in rows_where(wrong):
                what = (
                    f"is {counts[index, at]}"
                    if bad is None or not bad[index]
                    else f"holds {part[index].tobytes().hex()}"
                )
                columns.blame(rows[index], f"field '{leaf.name}' {what}, expected the {least} to {most} of its table")
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, key in enumerate(map(tuple, counts.tolist())):
            if good[index]:
                groups.setdefault(key, []).append(rows[index])
        return groups.items()

    def _grouped(self, counts: tuple[int, ...]) -> tuple[_Group, ...]:
        """The wanted fields by form, for records with these counts."""
        place = self._layout.place(counts)
        forms: dict[tuple[Any, ...], list[tuple[Wanted, Array, Array | None]]] = {}
        for wanted in self.wanted:
            at = place.starts[wanted.leaf.order].reshape(-1)[wanted.elements]
            there = at >= 0
            own = None if there.all() else np.flatnonzero(there)
            if at[there].size:
                forms.setdefault(_form_of(wanted), []).append((wanted, at[there], own))
        return tuple(_group(members, place.size) for members in forms.values())

    def _read(self, columns: Columns, data: Array, counts: tuple[int, ...]) -> None:
        """Elements come one after the other, each with its value of all rows."""
        for group in self._groups(counts):
            leaf = group.leaf
            part = group.gather(data)
            if leaf.numeric:
                found, bad = self._form.read(leaf, part)
                missing = None if bad is None else self._judge(columns, group, part, bad)
                values = _scaled(leaf, found).reshape(group.elements, columns.rows)
            else:
                values, missing = self._texts(columns, group, part).reshape(group.elements, columns.rows), None
            for wanted, own, which in group.parts:
                self._store(columns, wanted, values[own].T, which, None if missing is None else ~missing[own].T)
        for wanted in self.wanted:
            if wanted.name not in columns.fields:  # a variable table without elements
                self._reserve(columns, wanted)

    def _texts(self, columns: Columns, group: _Group, part: Array) -> Array:
        (wanted, _, _), *_ = group.parts  # a text has a group of its own
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

    def _judge(self, columns: Columns, group: _Group, part: Array, bad: Array) -> Array | None:
        """Blames records for what is no number; returns where a number is missing, [elements, rows]."""
        leaf, missing = group.leaf, None
        if self._form.blanks or leaf.blank_zero:
            blank = bad & (part == self._form.charset.space).all(axis=1)
            bad = bad & ~blank
            if not leaf.blank_zero and blank.any():
                missing = blank.reshape(group.elements, columns.rows)
        for at in rows_where(bad):
            element, row = divmod(at, columns.rows)
            wanted, own, _ = next(p for p in group.parts if p[1].start <= element < p[1].stop)
            index = f"({element - own.start + 1})" if own.stop - own.start > 1 else ""
            columns.blame(row, f"field '{wanted.name}'{index} {self._form.reason(leaf, part[at].tobytes())}")
        return missing

    def _store(self, columns: Columns, wanted: Wanted, values: Array, which: Array | None, valid: Array | None) -> None:
        """[rows, elements]; `which` of the field's elements they are, where they are not all of them."""
        shape = (columns.rows, *wanted.shape)
        if valid is not None and values.dtype.kind == "f":
            values[~valid] = np.nan
        if which is None:
            columns.fields[wanted.name] = values.reshape(shape)
            if valid is not None and not valid.all():
                columns.valid[wanted.name] = valid.reshape(shape)
            return
        self._reserve(columns, wanted)
        size = len(wanted.elements)
        columns.fields[wanted.name].reshape(columns.rows, size)[:, which] = values
        columns.valid[wanted.name].reshape(columns.rows, size)[:, which] = True if valid is None else valid

    @staticmethod
    def _reserve(columns: Columns, wanted: Wanted) -> None:
        """A column in which everything is missing."""
        shape = (columns.rows, *wanted.shape)
        dtype = _dtype(wanted.leaf)
        nothing = {"O": "", "d": np.nan}.get(dtype.char, 0)
        columns.fields[wanted.name] = np.full(shape, nothing, dtype)
        columns.valid[wanted.name] = np.zeros(shape, np.bool_)

    def _merge(self, columns: Columns, part: Columns, rows: Array) -> None:
        for wanted in self.wanted:
            name = wanted.name
            if name not in columns.fields:
                self._reserve(columns, wanted)
            columns.fields[name][rows] = part.fields[name]
            columns.valid[name][rows] = part.valid.get(name, True)


def _wanted(layout: RecordLayout, field: Field) -> Wanted:
    if field.expression:
        raise InvalidArgument(f"field '{field.name}' is an expression, a copybook's records have names only")
    leaf, subscript = layout.find(field.name)
    every = np.arange(prod(leaf.dims)).reshape(leaf.dims)
    elements = np.asarray(every[subscript]) if subscript else every
    found = _kind(leaf)
    fits = field.kind in (found, Kind.ANY) or (field.kind is Kind.NUMBER and found is Kind.INTEGER)
    if not fits:
        raise InvalidArgument(f"field '{field.name}' is of kind {found.value}, but is wanted as {field.kind.value}")
    if field.width and field.width != elements.size:
        raise InvalidArgument(f"field '{field.name}' has {elements.size} values, but is wanted with {field.width}")
    return Wanted(field.name, leaf, found, elements.reshape(-1), elements.shape)


def _kind(leaf: Leaf) -> Kind:
    if not leaf.numeric:
        return Kind.STRING
    if leaf.usage in (Usage.FLOAT, Usage.DOUBLE) or leaf.picture.scale > 0:
        return Kind.NUMBER
    return Kind.INTEGER if leaf.picture.digits - leaf.picture.scale <= 18 else Kind.NUMBER


def _dtype(leaf: Leaf) -> np.dtype[Any]:
    return DTYPES[_kind(leaf)]


def _form_of(wanted: Wanted) -> tuple[Any, ...]:
    leaf = wanted.leaf
    if not leaf.numeric:
        return (wanted.name,)
    return leaf.usage, leaf.picture, leaf.width, leaf.leading, leaf.separate, leaf.blank_zero


def _group(members: list[tuple[Wanted, Array, Array | None]], size: int) -> _Group:
    leaf = members[0][0].leaf
    starts = [int(start) for _, at, _ in members for start in at]
    record = np.dtype(
        {
            "names": [f"e{number}" for number in range(len(starts))],
            "formats": [f"V{leaf.width}"] * len(starts),
            "offsets": starts,
            "itemsize": size,
        }
    )
    parts, begin = [], 0
    for wanted, at, own in members:
        parts.append((wanted, slice(begin, begin + len(at)), own))
        begin += len(at)
    return _Group(leaf, record, tuple(parts))


def _fitting(values: Sequence[bytes | None], size: int, columns: Columns) -> list[bytes] | None:
    """The values, with one that fits in the place of each that does not, which is blamed; None where none does."""
    found = [value for value in values if value is not None and len(value) == size]
    if len(found) == len(values):
        return found
    fitting: list[bytes] = []
    for row, value in enumerate(values):
        if value is None or len(value) != size:
            columns.blame(row, _misfit(value, size))
            value = found[0] if found else b""
        fitting.append(value)
    return fitting if found else None


def _misfit(value: bytes | None, size: int) -> str:
    if value is None:
        return TOMBSTONE
    what = "truncated" if len(value) < size else "too long"
    return f"the record is {what}: it has {len(value)} bytes, expected {size}"


def _scaled(leaf: Leaf, found: Array) -> Array:
    scale = leaf.picture.scale
    if _kind(leaf) is Kind.INTEGER:
        whole = found.astype(np.int64, copy=False)
        return whole * 10**-scale if scale < 0 else whole
    if scale > 0:
        return found / 10.0**scale
    return found * 10.0**-scale if scale else found.astype(np.float64, copy=False)
