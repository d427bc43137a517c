"""Sentences to data items.

Source: Enterprise COBOL for z/OS Language Reference, "Data division--data description entry".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.codecs.records.copybook.clauses import CLAUSES, Clauses
from gateway.codecs.records.copybook.item import Item
from gateway.codecs.records.copybook.source import Sentence
from gateway.codecs.records.copybook.where import Where
from gateway.core.errors import InvalidArgument

#: 66 renames and 88 names values: neither has bytes of its own; 78 is a constant
_NO_STORAGE: Final = frozenset({66, 78, 88})
#: what stands round the records of a whole program's data division
_FILES: Final = frozenset({"FD", "SD"})
_HEADERS: Final = frozenset({"DIVISION", "SECTION"})


def parse_items(sentences: Iterable[Sentence]) -> list[Item]:
    """The records of a copybook: its items of level 01, or one nameless record of all its items.

    Raises InvalidArgument with the line.
    """
    roots: list[Item] = []
    above: list[Item] = []
    for sentence in sentences:
        item = _item(sentence)
        if item is None:
            continue
        while above and above[-1].level >= item.level:
            above.pop()
        if not above and item.level > 1:
            if roots:
                raise InvalidArgument(f"{item} follows a record, but has no group of a lower level above it")
            above.append(Item(0, "", Where(item.where.line, item.where.file)))
            roots.append(above[0])
        if above:
            if above[-1].picture is not None or (above[-1].usage is not None and above[-1].usage.floating):
                raise InvalidArgument(f"{item} lies below {above[-1]}, which has a PICTURE and so no items below it")
            above[-1].children.append(item)
        else:
            roots.append(item)
        above.append(item)
    if not roots:
        raise InvalidArgument("the copybook has no data items, expected one with a level number, a name and a PICTURE")
    return roots


def _item(sentence: Sentence) -> Item | None:
    first, *words = sentence.words
    if first in _FILES or (words and words[-1] in _HEADERS):
        return None
    if not first.isdecimal() or not (1 <= int(first) <= 49 or int(first) in _NO_STORAGE | {77}):
        raise InvalidArgument(f"{sentence.where} begins with '{first}', expected a level number, 01 to 49")
    if int(first) in _NO_STORAGE:
        return None
    named = bool(words) and words[0] not in CLAUSES
    item = Item(int(first), words.pop(0) if named else "", sentence.where)
    if item.name == "FILLER":
        item.name = ""
    if item.level == 77:
        raise InvalidArgument(f"{item} is of level 77, which is never part of a record: expected 01 to 49")
    Clauses(item, words).read()
    return item
