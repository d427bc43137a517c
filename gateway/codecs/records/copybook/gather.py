"""The fields that are wanted of a record, and their bytes out of many records at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from gateway.codecs.records.columns import Field, Kind
from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.codecs.records.copybook.leaf import Leaf
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import Array

#: from so many elements on, an index of bytes is faster than copies element by element
_MANY: Final = 256


@dataclass(frozen=True, slots=True)
class Wanted:
    """A field that is read: a leaf, or one element of it. `elements` are flat indexes into the leaf's `dims`."""

    name: str
    leaf: Leaf
    kind: Kind
    elements: Array
    shape: tuple[int, ...]

    def present(self, counts: Array) -> Array:
        """[rows, tables] of what the variable tables count → which elements each record has, [rows, elements]."""
        there = np.ones((len(counts), len(self.elements)), np.bool_)
        for index, counter in zip(np.unravel_index(self.elements, self.leaf.dims), self.leaf.counters, strict=True):
            if counter >= 0:
                there &= index < counts[:, counter, None]
        return there


@dataclass(frozen=True, slots=True)
class Group:
    """Fields whose bytes have the same form, read together.

    starts  the offset of each element
    parts   which of the elements belong to which field
    """

    leaf: Leaf
    starts: Array
    parts: tuple[tuple[Wanted, slice], ...]

    def gather(self, data: Array) -> Array:
        """[rows, size] to [elements * rows, width]: one element after the other, each of all rows."""
        rows, width, count = len(data), self.leaf.width, len(self.starts)
        if count > _MANY or not rows:
            part = data[np.arange(rows)[:, None], self.starts[:, None, None] + np.arange(width)]
            return np.ascontiguousarray(part).reshape(count * rows, width)
        copies = np.empty((count, rows), f"V{width}")
        for index, start in enumerate(self.starts.tolist()):
            # bytes without a meaning: copied in half the time of an index
            copies[index] = np.ndarray(rows, copies.dtype, data, start, (data.shape[1],))
        return copies.view(np.uint8).reshape(count * rows, width)


def groups(layout: RecordLayout, wanted: Iterable[Wanted]) -> tuple[Group, ...]:
    """By form, with variable tables at their full length; each text is a group of its own."""
    starts = layout.place(layout.most).starts
    forms: dict[tuple[Any, ...], list[Wanted]] = {}
    for each in wanted:
        leaf = each.leaf
        form = (leaf.usage, leaf.picture, leaf.width, leaf.leading, leaf.separate, leaf.blank_zero)
        forms.setdefault(form if leaf.numeric else (each.name,), []).append(each)
    return tuple(_group(members, starts) for members in forms.values())


def _group(members: list[Wanted], starts: tuple[Array, ...]) -> Group:
    parts, begin = [], 0
    for each in members:
        parts.append((each, slice(begin, begin + len(each.elements))))
        begin += len(each.elements)
    at = [starts[each.leaf.order].reshape(-1)[each.elements] for each in members]
    return Group(members[0].leaf, np.concatenate(at), tuple(parts))


def wanted_field(layout: RecordLayout, field: Field) -> Wanted:
    if field.expression:
        raise InvalidArgument(f"field '{field.name}' is an expression, a copybook's records have names only")
    leaf, subscript = layout.find(field.name)
    every = np.arange(prod(leaf.dims)).reshape(leaf.dims)
    elements = np.asarray(every[subscript]) if subscript else every
    found = kind_of(leaf)
    if field.kind is Kind.NUMBER and leaf.picture.edited and not leaf.numeric:
        found = Kind.NUMBER
    fits = field.kind in (found, Kind.ANY) or (field.kind is Kind.NUMBER and found is Kind.INTEGER)
    if not fits:
        raise InvalidArgument(f"field '{field.name}' is of kind {found.value}, but is wanted as {field.kind.value}")
    if field.width and field.width != elements.size:
        raise InvalidArgument(f"field '{field.name}' has {elements.size} values, but is wanted with {field.width}")
    return Wanted(field.name, leaf, found, elements.reshape(-1), elements.shape)


def kind_of(leaf: Leaf) -> Kind:
    if not leaf.numeric:
        return Kind.STRING
    if leaf.usage.floating or leaf.picture.scale > 0:
        return Kind.NUMBER
    return Kind.INTEGER if leaf.picture.digits - leaf.picture.scale <= 18 else Kind.NUMBER
