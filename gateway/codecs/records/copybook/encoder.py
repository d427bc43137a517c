"""Columns to records of a copybook."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from math import prod
from typing import Any, Final

import numpy as np

from gateway.codecs.records.columns import Columns, Encoded, pick
from gateway.codecs.records.copybook.form import Conventions
from gateway.codecs.records.copybook.item import Usage
from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.codecs.records.copybook.leaf import Leaf
from gateway.codecs.records.copybook.presence import Presence
from gateway.codecs.records.jsonencoder import column_of
from gateway.codecs.records.matrix import rows_of
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import Array


class CopybookEncoder:
    """`fields`: a name as in `RecordLayout.find` → which column, or an element of it. Other fields are blank or zero.

    A number is rounded to its decimals. What does not fit, a negative number in an unsigned field, and a missing number
    are errors of their record.
    """

    def __init__(self, layout: RecordLayout, fields: Mapping[str, str], conventions: Conventions | None = None) -> None:
        """Raises InvalidArgument for a field that the record lacks, and for a table whose counter is not written."""
        self._layout: Final = layout
        self._form: Final = conventions or Conventions()
        self._fields: Final = [(*layout.find(name), *column_of(source)) for name, source in fields.items()]
        self._empty: Final = self._form.empty(layout, layout.most)
        self._starts: Final = layout.place(layout.most).starts
        self._presence: Final = Presence(layout)
        written = {leaf.order for leaf, *_ in self._fields}
        for leaf in layout.counters:
            if leaf.order not in written:
                raise InvalidArgument(f"field '{leaf.name}' counts a table's elements, and is to be written")

    def encode(self, columns: Columns) -> Encoded:
        errors: dict[int, str] = {}
        records = np.repeat(self._empty[None], columns.rows, axis=0)
        for field in self._fields:
            leaf, subscript, part = self._part(columns, *field, errors)
            starts = np.asarray(self._starts[leaf.order][subscript] if subscript else self._starts[leaf.order])
            for element, at in enumerate(starts.reshape(-1).tolist()):
                records[:, at : at + leaf.width] = part[:, element]
        values = self._shortened(records, columns, errors) if self._layout.counters else rows_of(records)
        for row in errors:
            values[row] = b""
        return Encoded(values, errors)

    def _shortened(self, records: Array, columns: Columns, errors: dict[int, str]) -> list[bytes]:
        """Without the elements that each record has not; these are blank where what follows a table does not slide."""
        there = self._presence.of(self._counts(columns, errors))
        if not self._layout.slide:
            records[~there] = self._form.charset.space
            return rows_of(records)
        data = records[there].tobytes()
        ends = np.cumsum(there.sum(axis=1)).tolist()
        return [data[begin:end] for begin, end in pairwise([0, *ends])]

    def _counts(self, columns: Columns, errors: dict[int, str]) -> Array:
        """[rows, tables]"""
        layout = self._layout
        sources = {leaf.order: (name, element) for leaf, _, name, element in self._fields}
        counts = np.zeros((columns.rows, len(layout.counters)), np.int64)
        for at, (leaf, least, most) in enumerate(zip(layout.counters, layout.least, layout.most, strict=True)):
            values, _ = pick(columns, *sources[leaf.order])
            outside = ~((values >= least) & (values <= most))
            for row in np.flatnonzero(outside).tolist():
                errors.setdefault(
                    row, f"field '{leaf.name}' is {values[row]}, expected the {least} to {most} of its table"
                )
            counts[:, at] = np.where(outside, least, values)
        return counts

    def _part(
        self, columns: Columns, leaf: Leaf, subscript: tuple[int, ...], name: str, element: int, errors: dict[int, str]
    ) -> tuple[Leaf, tuple[int, ...], Array]:
        """The bytes of a field, [rows, elements, width]."""
        array, valid = pick(columns, name, element)
        expected = leaf.dims if not subscript else ()
        if array.shape[1:] != expected:
            raise InvalidArgument(
                f"field '{leaf.name}' is to hold '{name}', which has the shape {list(array.shape[1:])} a record,"
                f" expected {list(expected)}"
            )
        flat = array.reshape(-1)
        there = np.ones(len(flat), np.bool_) if valid is None else valid.reshape(-1)
        each = prod(expected)
        if leaf.numeric:
            part = self._numbers(leaf, flat, there, each, errors)
        else:
            part = self._texts(leaf, flat, there, each, errors)
        return leaf, subscript, part.reshape(columns.rows, prod(expected), leaf.width)

    def _numbers(self, leaf: Leaf, values: Array, there: Array, each: int, errors: dict[int, str]) -> Array:
        if values.dtype == object:
            raise InvalidArgument(f"field '{leaf.name}' is a number, but is to hold text")
        unscaled = values.astype(np.float64) if leaf.usage.floating else _unscaled(values, leaf.picture.scale)
        # an array that is not there for a table's unused elements is no error: they are not written
        wrong = ~self._fits(leaf, unscaled) | (~there if each == 1 else False)
        for at in np.flatnonzero(wrong & (there if each > 1 else True)).tolist():
            shown = values[at] if there[at] else "missing"
            sign = "" if leaf.picture.signed else "unsigned "
            errors.setdefault(at // each, f"field '{leaf.name}' is {shown}, expected {sign}{_form(leaf)}")
        safe = np.where(wrong, 0, unscaled)
        kind = np.float64 if leaf.usage.floating else np.int64
        return self._form.write(leaf, safe.astype(kind))

    def _fits(self, leaf: Leaf, unscaled: Array) -> Array:
        least, most = self._form.bounds(leaf)
        if unscaled.dtype.kind == "f" and not leaf.usage.floating and float(most) > most:
            most = math.nextafter(float(most), 0)  # the next float64 is beyond what int64 holds
        fits: Array = (unscaled >= least) & (unscaled <= most)
        return fits

    def _texts(self, leaf: Leaf, values: Array, there: Array, each: int, errors: dict[int, str]) -> Array:
        if leaf.picture.edited and values.dtype != object:
            raise InvalidArgument(
                f"field '{leaf.name}' ({leaf.where}) is an edited number, which is written as the text that it shows,"
                " but is to hold numbers: expected a PICTURE of 9 or S9"
            )
        blank = self._form.blank(leaf)
        texts = []
        for at, value in enumerate(values.tolist()):
            text = str(value) if value is not None and there[at] else ""
            try:
                data = text.encode("utf-16-be") if leaf.picture.national else self._form.charset.encode(text)
            except UnicodeEncodeError as error:
                lacking = error.object[error.start]
                errors.setdefault(at // each, f"field '{leaf.name}' has {lacking!r}, which {self._form.encoding} lacks")
                data = b""
            if len(data) > leaf.width:
                errors.setdefault(
                    at // each,
                    f"field '{leaf.name}' is '{text}' with {len(text)} characters,"
                    f" expected at most {leaf.picture.size}",
                )
                data = b""
            texts.append(blank[len(data) :] + data if leaf.justified else data + blank[len(data) :])
        return np.frombuffer(b"".join(texts), np.uint8)


def _unscaled(values: Array, scale: int) -> Array:
    """Whole numbers: int64 stays exact where it can, else float64 is rounded."""
    if values.dtype.kind in "iub" and scale <= 0:
        whole = values.astype(np.int64)
        return whole if not scale else np.rint(whole / 10.0**-scale)
    scaled: Array = np.rint(values.astype(np.float64) * 10.0**scale)
    return scaled


def _form(leaf: Leaf) -> Any:
    if leaf.usage.floating:
        return f"a number that {leaf.usage.value} holds"
    if leaf.usage.binary and leaf.usage is not Usage.BINARY:
        return f"a number of {leaf.width} bytes"
    return f"at most {min(leaf.picture.digits, 18)} digits, {max(leaf.picture.scale, 0)} of them decimals"
