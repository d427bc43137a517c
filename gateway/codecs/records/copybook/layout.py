"""The record that a copybook describes: its items by name, and where they lie."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.codecs.records.copybook.item import Item, Occurs
from gateway.codecs.records.copybook.leaf import Inherited, Leaf, leaf_of
from gateway.codecs.records.copybook.parser import parse_items
from gateway.codecs.records.copybook.placement import Node, Places
from gateway.codecs.records.copybook.reference import Format
from gateway.codecs.records.copybook.source import Source, Texts
from gateway.core.errors import InvalidArgument

_SUBSCRIPTED: Final = re.compile(r"([^()]+)(?:\(\s*(\d{1,9}(?:[\s,]+\d{1,9})*)\s*\))?")


class RecordLayout:
    """One record of a copybook.

    leaves    its elementary items, FILLER among them, in their order
    counters  what the variable tables depend on
    slide     what follows a variable table lies right behind its last element (as on z/OS); else behind its room
    """

    def __init__(self, root: Item, *, slide: bool = True) -> None:
        """Raises InvalidArgument for what COBOL forbids, or this does not support, naming item and line."""
        self.name: Final = root.name
        self._leaves: list[Leaf] = []
        self._tables: list[Occurs] = []
        self._root: Final = self._build(root, Inherited())
        self.leaves: Final = tuple(self._leaves)
        self.counters: Final = tuple(self._counter(table) for table in self._tables)
        self.most: Final = tuple(table.most for table in self._tables)
        self.least: Final = tuple(table.least for table in self._tables)
        self.slide: Final = slide
        places = Places(self._root, len(self.leaves), self.most, slide=slide)
        self.place: Final = places.place
        self.elements: Final = places.elements
        self.size: Final = self.place(self.most).size
        self._check()

    @staticmethod
    def read(
        text: str,
        *,
        record: str = "",
        format: Format = "auto",
        replacing: Mapping[str, str] | None = None,
        slide: bool = True,
        name: str = "",
        texts: Texts | None = None,
    ) -> RecordLayout:
        """`record` names the item of level 01, where the copybook has several; for the others see `Source`.

        Raises InvalidArgument.
        """
        source = Source(text, format, name=name, replacing=replacing, texts=texts)
        roots = parse_items(source.sentences())
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

    def _build(self, item: Item, above: Inherited) -> Node:
        below = above.under(item, len(self._tables))
        counter = -1
        if item.occurs and item.occurs.depending:
            counter = len(self._tables)
            self._tables.append(item.occurs)
        if not item.children:
            leaf = leaf_of(item, below, len(self._leaves))
            self._leaves.append(leaf)
            return Node(item, leaf, [], counter, leaf.boundary)
        children = [self._build(child, below) for child in item.children]
        redefined = {child.item.redefines for child in children} - {""}
        for child in children:
            varies = child.counter >= 0 or child.varies()
            if varies and (child.item.redefines or child.item.name in redefined):
                raise InvalidArgument(
                    f"{child.item} has a variable table, and redefines an item or is redefined: COBOL allows neither"
                )
        return Node(item, None, children, counter, max(child.boundary for child in children))

    def _counter(self, table: Occurs) -> Leaf:
        leaf, _ = self.find(table.depending)
        if leaf.dims:
            raise InvalidArgument(
                f"{leaf.name} ({leaf.where}) is to count a table's elements, but has several values itself: COBOL gives"
                " it no subscript there, expected an item outside of tables"
            )
        if not leaf.numeric or leaf.usage.floating or leaf.picture.scale > 0:
            raise InvalidArgument(f"{leaf.name} ({leaf.where}) is to count a table's elements, but is no whole number")
        return leaf

    def _check(self) -> None:
        """What a record's length depends on must lie before it; SYNCHRONIZED items always at the same place."""
        few, many = self.place(self.least), self.place(self.most)
        for at, leaf in enumerate(self.counters):
            known = (*self.most[:at], *self.least[at:])
            if self.place(known).starts[leaf.order] != many.starts[leaf.order]:
                raise InvalidArgument(
                    f"{leaf.name} ({leaf.where}) counts a table's elements, but lies behind that table: expected it"
                    " before"
                )
        for leaf in self.leaves:
            if leaf.boundary > 1 and few.starts[leaf.order].flat[0] != many.starts[leaf.order].flat[0]:
                raise InvalidArgument(
                    f"{leaf.name} ({leaf.where}) is SYNCHRONIZED behind a table of variable length, where its slack"
                    " bytes vary: expected it without SYNCHRONIZED, or `slide: false`"
                )
