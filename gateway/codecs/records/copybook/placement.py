"""Where the elements of a record lie, for each number of elements that its variable tables have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from gateway.codecs.records.copybook.item import Item
from gateway.codecs.records.copybook.leaf import Leaf
from gateway.codecs.records.copybook.picture import MAX_SIZE
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import Array

#: where an element lies that a record does not have; offsets added to it stay negative
ABSENT: Final = -(1 << 40)


@dataclass(frozen=True, slots=True)
class Placement:
    """`starts`: by `Leaf.order`, the offset of each element, int64 of shape `dims`; negative beyond a table's end."""

    size: int
    starts: tuple[Array, ...]


@dataclass(slots=True, eq=False)
class Node:
    """An item of the record.

    counter   the index of the count that its table depends on, -1 for none
    boundary  the largest that anything within it is SYNCHRONIZED to
    slack     bytes before it that SYNCHRONIZED inserts
    pad       such bytes behind each of its elements
    """

    item: Item
    leaf: Leaf | None
    children: list[Node]
    counter: int = -1
    boundary: int = 1
    slack: int = 0
    pad: int = 0

    @property
    def first_boundary(self) -> int:
        """What its first elementary item is SYNCHRONIZED to."""
        return self.leaf.boundary if self.leaf is not None else self.children[0].first_boundary

    def varies(self) -> bool:
        """Its elements have not always the same length."""
        return any(child.counter >= 0 or child.varies() for child in self.children)


class Places:
    """`most`: the most elements of each variable table. `slide` is that of `RecordLayout`."""

    def __init__(self, root: Node, leaves: int, most: tuple[int, ...], *, slide: bool) -> None:
        """Raises InvalidArgument."""
        self._root: Final = root
        self._leaves: Final = leaves
        self._most: Final = most
        self._slide: Final = slide
        if root.boundary > 1:
            self._synchronize(root, 0)
        self.place: Final = lru_cache(maxsize=256)(self._place)

    def elements(self) -> list[Array]:
        """By variable table: which of its elements each byte of the longest record lies in, -1 for none; int32."""
        size = self.place(self._most).size
        found = [np.full(size, -1, np.int32) for _ in self._most]
        self._mark(self._root, np.zeros((), np.int64), found)
        return found

    def _mark(self, node: Node, base: Array, found: list[Array]) -> None:
        if node.item.occurs is not None:
            one = self._one(node, self._most)
            base = base[..., None] + np.arange(node.item.occurs.most) * one
            if node.counter >= 0:
                elements = np.arange(node.item.occurs.most, dtype=np.int32)[:, None]
                found[node.counter][base[..., None] + np.arange(one)] = elements
        for at, child in self._offsets(node, self._most):
            self._mark(child, base + at, found)

    def _place(self, counts: tuple[int, ...]) -> Placement:
        """`counts`: the elements of each variable table."""
        size = self._size(self._root, counts)
        if size > MAX_SIZE:
            raise InvalidArgument(f"records of the copybook have {size} bytes, expected at most {MAX_SIZE}")
        starts: dict[int, Array] = {}
        self._walk(self._root, np.zeros((), np.int64), counts, starts)
        return Placement(size, tuple(starts[order] for order in range(self._leaves)))

    def _synchronize(self, node: Node, begin: int) -> None:
        """Finds the slack bytes of a group that begins there.

        They stand before an item, or before the group whose first item it is, and behind each element of a table, so
        that all are aligned as the first is. Source: Enterprise COBOL for z/OS Language Reference, "Slack bytes".
        """
        if node.item.occurs and node.boundary > 1 and self._slide and node.varies():
            raise InvalidArgument(
                f"{node.item} has SYNCHRONIZED items and a variable table in its elements, which is not supported:"
                " expected it without SYNCHRONIZED, and with the slack bytes as FILLER"
            )
        for child in node.children:
            child.slack = 0
        for at, child in self._offsets(node, self._most):
            wrong = -(begin + at) % child.first_boundary
            if wrong and child.item.redefines:
                raise InvalidArgument(
                    f"{child.item} is SYNCHRONIZED, and redefines what lies at byte {begin + at} of the record:"
                    f" expected a multiple of {child.first_boundary}"
                )
            child.slack = wrong
            self._synchronize(child, begin + at + wrong)
        if node.item.occurs:
            node.pad = -self._one(node, self._most) % node.boundary

    def _size(self, node: Node, counts: tuple[int, ...]) -> int:
        occurs = node.item.occurs
        if occurs is None:
            return self._one(node, counts)
        times = counts[node.counter] if node.counter >= 0 and self._slide else occurs.most
        return self._one(node, counts) * times

    def _one(self, node: Node, counts: tuple[int, ...]) -> int:
        """Bytes of one element."""
        if node.leaf is not None:
            return node.leaf.width
        return node.pad + max((at + self._size(child, counts) for at, child in self._offsets(node, counts)), default=0)

    def _offsets(self, node: Node, counts: tuple[int, ...]) -> Iterator[tuple[int, Node]]:
        """A child's slack may be set when it has been given: the next one lies behind it."""
        at = 0
        known: dict[str, int] = {}
        for child in node.children:
            begin = at
            if child.item.redefines:
                if child.item.redefines not in known:
                    raise InvalidArgument(
                        f"{child.item} redefines {child.item.redefines}, which is not before it on its level"
                    )
                begin = known[child.item.redefines]
            yield begin + child.slack, child
            begin += child.slack
            if child.item.name:
                known[child.item.name] = begin
            at = max(at, begin + self._size(child, counts))

    def _walk(self, node: Node, base: Array, counts: tuple[int, ...], starts: dict[int, Array]) -> None:
        occurs = node.item.occurs
        if occurs is not None:
            steps = np.arange(occurs.most) * self._one(node, counts)
            if node.counter >= 0:
                steps[counts[node.counter] :] = ABSENT
            base = base[..., None] + steps
        if node.leaf is not None:
            starts[node.leaf.order] = base
        for at, child in self._offsets(node, counts):
            self._walk(child, base + at, counts, starts)
