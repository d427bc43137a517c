"""Where the elementary items of a record lie, for each number of elements that its variable tables have."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from gateway.codecs.records.copybook.parser import Item, Occurs, Usage, parse_copybook
from gateway.codecs.records.copybook.picture import MAX_SIZE, Picture
from gateway.codecs.records.copybook.source import Format
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import Array

#: where an element lies that a record does not have; offsets added to it stay negative
ABSENT: Final = -(1 << 40)
_SUBSCRIPTED: Final = re.compile(r"([^()]+)(?:\(\s*(\d{1,9}(?:[\s,]+\d{1,9})*)\s*\))?")


@dataclass(frozen=True, slots=True)
class Leaf:
    """An elementary item.

    path       its name behind those of its groups, FILLER left out; () for a FILLER
    width      bytes of one element
    dims       the most elements of each table that it lies in, outermost first
    counter    the index of the count that its outermost table depends on, -1 where none does
    redefines  it lies in a group or item that redefines another: it may hold something else
    """

    path: tuple[str, ...]
    picture: Picture
    usage: Usage
    width: int
    dims: tuple[int, ...]
    counter: int
    leading: bool
    separate: bool
    blank_zero: bool
    redefines: bool
    order: int
    line: int

    @property
    def name(self) -> str:
        return ".".join(self.path) or "FILLER"

    @property
    def numeric(self) -> bool:
        return self.picture.numeric or self.usage in (Usage.FLOAT, Usage.DOUBLE)


@dataclass(frozen=True, slots=True)
class Placement:
    """`starts`: by `Leaf.order`, the offset of each element, int64 of shape `dims`; negative beyond a table's end."""

    size: int
    starts: tuple[Array, ...]


@dataclass(slots=True, eq=False)
class _Node:
    """An item with what it inherits. `counter` is the index of the count that its table depends on, -1 for none."""

    item: Item
    leaf: Leaf | None
    children: list[_Node]
    width: int = 0
    counter: int = -1


class RecordLayout:
    """One record of a copybook.

    leaves    its elementary items, FILLER among them, in their order
    counters  what the variable tables depend on
    slide     what follows a variable table lies right behind its last element (as on z/OS); else behind its room
    """

    def __init__(self, root: Item, *, slide: bool = True) -> None:
        """Raises InvalidArgument for what COBOL forbids, or this does not support, naming item and line."""
        self.name: Final = root.name
        self._slide: Final = slide
        self._leaves: list[Leaf] = []
        self._tables: list[Occurs] = []
        self._root: Final = self._build(root, Inherited())
        self.leaves: Final = tuple(self._leaves)
        self.counters: Final = tuple(self._counter(table) for table in self._tables)
        self.most: Final = tuple(table.most for table in self._tables)
        self.least: Final = tuple(table.least for table in self._tables)
        self.place: Final = lru_cache(maxsize=256)(self._place)
        self.size: Final = self.place(self.most).size
        self._check_counters()

    @staticmethod
    def read(
        text: str,
        *,
        record: str = "",
        format: Format = "auto",
        replacing: Mapping[str, str] | None = None,
        slide: bool = True,
    ) -> RecordLayout:
        """`record` names the item of level 01, where the copybook has several. Raises InvalidArgument."""
        roots = parse_copybook(text, format, replacing)
        found = [root for root in roots if not record or root.name == record.upper()]
        if len(found) != 1:
            names = ", ".join(root.name or "FILLER" for root in roots)
            raise InvalidArgument(f"record '{record}' is to be one of the copybook's, which has {names}")
        return RecordLayout(found[0], slide=slide)

    def named(self) -> Iterator[Leaf]:
        """All items that have a name and no other meaning: what is read where nothing is asked for."""
        return (leaf for leaf in self.leaves if leaf.path and not leaf.redefines)

    def find(self, name: str) -> tuple[Leaf, tuple[int, ...]]:
        """A name, qualified by its groups where that is needed, and a subscript, from 0: ``ORDER.LINE.PRICE(2)``.

        Capitals do not matter. In the text subscripts count from 1, as in COBOL. Raises InvalidArgument.
        """
        parts = _SUBSCRIPTED.fullmatch(name.strip())
        wanted = tuple(parts[1].strip().upper().split(".")) if parts else ()
        full = [((self.name, *leaf.path), leaf) for leaf in self.leaves if leaf.path]
        found = [leaf for path, leaf in full if path[-len(wanted) :] == wanted]
        exact = [leaf for leaf in found if leaf.path == wanted]
        if len(exact) == 1:
            found = exact
        if parts is None or len(found) != 1:
            raise self._unknown(name, [leaf.name for leaf in found])
        leaf = found[0]
        subscript = tuple(int(part) - 1 for part in re.findall(r"\d+", parts[2] or ""))
        if subscript and (
            len(subscript) != len(leaf.dims)
            or not all(0 <= at < size for at, size in zip(subscript, leaf.dims, strict=True))
        ):
            raise InvalidArgument(
                f"field '{name}' has a subscript beyond the tables of {list(leaf.dims)} that it lies in"
            )
        return leaf, subscript

    def _unknown(self, name: str, found: list[str]) -> InvalidArgument:
        if found:
            return InvalidArgument(f"field '{name}' may be {' or '.join(found)}: say which, by the names of its groups")
        known = [leaf.path[-1] for leaf in self.leaves if leaf.path]
        near = difflib.get_close_matches(name.upper(), known, 1)
        hint = f", did you mean '{near[0]}'?" if near else f": it has {', '.join(known)}"
        return InvalidArgument(f"field '{name}' is not in the copybook{hint}")

    def _build(self, item: Item, above: Inherited) -> _Node:
        below = above.under(item, len(self._tables))
        if not item.children:
            leaf = _leaf(item, below, len(self._leaves))
            self._leaves.append(leaf)
            node = _Node(item, leaf, [], leaf.width)
        else:
            node = _Node(item, None, [])
        if item.occurs and item.occurs.depending:
            if len(below.dims) > 1:
                raise InvalidArgument(
                    f"{item} is a table of variable length within another table, which is not supported"
                )
            node.counter = len(self._tables)
            self._tables.append(item.occurs)
        node.children = [self._build(child, below) for child in item.children]
        return node

    def _counter(self, table: Occurs) -> Leaf:
        leaf, _ = self.find(table.depending)
        if leaf.dims or not leaf.picture.numeric or leaf.picture.scale > 0:
            raise InvalidArgument(
                f"{leaf.name} (line {leaf.line}) is to count a table's elements, but is no whole number"
            )
        return leaf

    def _check_counters(self) -> None:
        """Their places must not depend on what they count."""
        few, many = self.place(self.least), self.place(self.most)
        for leaf in self.counters:
            if few.starts[leaf.order] != many.starts[leaf.order]:
                raise InvalidArgument(
                    f"{leaf.name} (line {leaf.line}) counts a table's elements, but lies behind such a one"
                )

    def _place(self, counts: tuple[int, ...]) -> Placement:
        """`counts`: the elements of each variable table."""
        size = self._size(self._root, counts)
        if size > MAX_SIZE:
            raise InvalidArgument(f"records of the copybook have {size} bytes, expected at most {MAX_SIZE}")
        starts: dict[int, Array] = {}
        self._walk(self._root, np.zeros((), np.int64), counts, starts)
        return Placement(size, tuple(starts[leaf.order] for leaf in self._leaves))

    def _size(self, node: _Node, counts: tuple[int, ...]) -> int:
        occurs = node.item.occurs
        if occurs is None:
            return self._one(node, counts)
        times = counts[node.counter] if node.counter >= 0 and self._slide else occurs.most
        return self._one(node, counts) * times

    def _one(self, node: _Node, counts: tuple[int, ...]) -> int:
        """Bytes of one element."""
        if node.leaf is not None:
            return node.width
        return max((at + self._size(child, counts) for at, child in self._offsets(node, counts)), default=0)

    def _offsets(self, node: _Node, counts: tuple[int, ...]) -> Iterator[tuple[int, _Node]]:
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
            if child.item.name:
                known[child.item.name] = begin
            yield begin, child
            at = max(at, begin + self._size(child, counts))

    def _walk(self, node: _Node, base: Array, counts: tuple[int, ...], starts: dict[int, Array]) -> None:
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


@dataclass(frozen=True, slots=True)
class Inherited:
    """What an item has of its groups."""

    path: tuple[str, ...] = ()
    dims: tuple[int, ...] = ()
    counter: int = -1
    usage: Usage | None = None
    leading: bool | None = None
    separate: bool = False
    redefines: bool = False

    def under(self, item: Item, tables: int) -> Inherited:
        """`tables`: how many of variable length there were before it."""
        own_sign = item.leading is not None
        return Inherited(
            (*self.path, item.name) if item.name and item.level > 1 else self.path,
            (*self.dims, item.occurs.most) if item.occurs else self.dims,
            tables if item.occurs and item.occurs.depending else self.counter,
            item.usage or self.usage,
            item.leading if own_sign else self.leading,
            item.separate if own_sign else self.separate,
            self.redefines or bool(item.redefines),
        )


def _leaf(item: Item, own: Inherited, order: int) -> Leaf:
    usage, picture = own.usage or Usage.DISPLAY, item.picture
    if usage in (Usage.FLOAT, Usage.DOUBLE):
        if picture is not None:
            raise InvalidArgument(f"{item} is {usage.value} and has a PICTURE, which COBOL does not allow")
        picture = Picture(0, signed=True)
    if picture is None:
        raise InvalidArgument(f"{item} has neither a PICTURE nor items below it")
    if not picture.numeric and usage in (Usage.BINARY, Usage.NATIVE, Usage.PACKED):
        raise InvalidArgument(f"{item} is {usage.value}, but its PICTURE is not of a number")
    if item.synchronized and usage not in (Usage.DISPLAY, Usage.PACKED):
        raise InvalidArgument(f"{item} is SYNCHRONIZED: slack bytes are not supported, write them as a FILLER")
    if usage in (Usage.BINARY, Usage.NATIVE) and picture.digits > 18:
        raise InvalidArgument(f"{item} is {usage.value} of {picture.digits} digits, expected at most 18")
    separate = own.separate and picture.signed and usage is Usage.DISPLAY
    path = own.path if item.name else ()
    if item.level <= 1 and item.name:
        path = (item.name,)
    return Leaf(
        path, picture, usage, _width(usage, picture, separate), own.dims, own.counter, bool(own.leading), separate,
        item.blank_zero, own.redefines, order, item.line,
    )  # fmt: skip


def _width(usage: Usage, picture: Picture, separate: bool) -> int:
    match usage:
        case Usage.DISPLAY:
            return picture.size * 2 if picture.national else picture.size + separate
        case Usage.BINARY | Usage.NATIVE:
            return 2 if picture.digits < 5 else 4 if picture.digits < 10 else 8
        case Usage.PACKED:
            return picture.digits // 2 + 1
        case Usage.FLOAT:
            return 4
        case Usage.DOUBLE:
            return 8
