"""Sentences to data items.

Source: Enterprise COBOL for z/OS Language Reference, "Data division--data description entry".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from gateway.codecs.records.copybook.picture import Picture, parse_picture
from gateway.codecs.records.copybook.source import Format, Sentence, sentences
from gateway.core.errors import InvalidArgument


class Usage(Enum):
    DISPLAY = "DISPLAY"
    BINARY = "BINARY"
    NATIVE = "COMP-5"
    PACKED = "PACKED-DECIMAL"
    FLOAT = "COMP-1"
    DOUBLE = "COMP-2"


_USAGES: Final = {
    "DISPLAY": Usage.DISPLAY,
    "NATIONAL": Usage.DISPLAY,
    "BINARY": Usage.BINARY,
    "COMP": Usage.BINARY,
    "COMP-4": Usage.BINARY,
    "COMP-5": Usage.NATIVE,
    "COMP-3": Usage.PACKED,
    "PACKED-DECIMAL": Usage.PACKED,
    "COMP-1": Usage.FLOAT,
    "COMP-2": Usage.DOUBLE,
}
_REFUSED: Final = frozenset(
    ("COMP-6", "COMP-X", "COMP-N", "INDEX", "POINTER", "POINTER-32", "PROCEDURE-POINTER", "FUNCTION-POINTER",
     "DISPLAY-1", "UTF-8", "OBJECT")
)  # fmt: skip
_CLAUSES: Final = frozenset(
    ("REDEFINES", "PIC", "PICTURE", "USAGE", "SIGN", "LEADING", "TRAILING", "OCCURS", "VALUE", "VALUES", "SYNC",
     "SYNCHRONIZED", "JUST", "JUSTIFIED", "BLANK", "EXTERNAL", "GLOBAL", *_USAGES, *_REFUSED)
)  # fmt: skip
#: 66 renames and 88 names values: neither has bytes of its own; 78 is a constant
_NO_STORAGE: Final = frozenset({66, 78, 88})


@dataclass(frozen=True, slots=True)
class Occurs:
    """A table of `least` to `most` elements; `depending` names what holds their number, "" where it is fixed."""

    least: int
    most: int
    depending: str = ""


@dataclass(slots=True)
class Item:
    """A data item as written. `name` is "" for FILLER; groups hand `usage` and the sign on to their children."""

    level: int
    name: str
    line: int
    picture: Picture | None = None
    usage: Usage | None = None
    leading: bool | None = None
    separate: bool = False
    occurs: Occurs | None = None
    redefines: str = ""
    blank_zero: bool = False
    synchronized: bool = False
    children: list[Item] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.level:02} {self.name or 'FILLER'} (line {self.line})"


def parse_copybook(text: str, format: Format = "auto", replacing: Mapping[str, str] | None = None) -> list[Item]:
    """The records of a copybook: its items of level 01, or one nameless record of all its items.

    Raises InvalidArgument with the line.
    """
    roots: list[Item] = []
    above: list[Item] = []
    for sentence in sentences(text, format, replacing):
        item = _item(sentence)
        if item is None:
            continue
        while above and above[-1].level >= item.level:
            above.pop()
        if not above and item.level > 1:
            if roots:
                raise InvalidArgument(f"{item} follows a record, but has no group of a lower level above it")
            above.append(Item(0, "", item.line))
            roots.append(above[0])
        if above:
            if above[-1].picture is not None or above[-1].usage in (Usage.FLOAT, Usage.DOUBLE):
                raise InvalidArgument(f"{item} lies below {above[-1]}, which has a PICTURE and so no items below it")
            above[-1].children.append(item)
        else:
            roots.append(item)
        above.append(item)
    if not roots:
        raise InvalidArgument("the copybook has no data items")
    return roots


def _item(sentence: Sentence) -> Item | None:
    first, *words = sentence.words
    if not first.isdecimal() or not (1 <= int(first) <= 49 or int(first) in _NO_STORAGE | {77}):
        what = "COPY is to be resolved before" if first == "COPY" else "expected a level number"
        raise InvalidArgument(f"line {sentence.line} of the copybook begins with '{first}': {what}")
    if int(first) in _NO_STORAGE:
        return None
    named = bool(words) and words[0] not in _CLAUSES
    item = Item(int(first), words.pop(0) if named else "", sentence.line)
    if item.name == "FILLER":
        item.name = ""
    if item.level == 77:
        raise InvalidArgument(f"{item} is of level 77, which is never part of a record: expected 01 to 49")
    reader = _Clauses(item, words)
    reader.read()
    return item


class _Clauses:
    """Reads the clauses of one item; words that COBOL lets one leave out are skipped."""

    def __init__(self, item: Item, words: list[str]) -> None:
        self._item = item
        self._words = words
        self._at = 0

    def read(self) -> None:
        while (word := self._next()) is not None:
            if word in _USAGES or word.replace("COMPUTATIONAL", "COMP") in _USAGES or word in _REFUSED:
                self._usage(word)
                continue
            match word:
                case "PIC" | "PICTURE":
                    self._skip("IS")
                    self._item.picture = self._picture(self._need("a PICTURE"))
                case "USAGE":
                    self._skip("IS")
                    self._usage(self._need("a usage"))
                case "SIGN" | "LEADING" | "TRAILING":
                    self._sign(word)
                case "OCCURS":
                    self._occurs()
                case "REDEFINES":
                    self._item.redefines = self._need("a name")
                case "VALUE" | "VALUES":
                    self._values()
                case "SYNC" | "SYNCHRONIZED":
                    self._skip("LEFT", "RIGHT")
                    self._item.synchronized = True
                case "JUST" | "JUSTIFIED":
                    self._skip("RIGHT")
                case "BLANK":
                    self._skip("WHEN")
                    self._skip("ZERO", "ZEROS", "ZEROES")
                    self._item.blank_zero = True
                case "EXTERNAL" | "GLOBAL":
                    pass
                case _:
                    raise InvalidArgument(f"{self._item} has '{word}', which is not a clause that is known")

    def _next(self) -> str | None:
        if self._at == len(self._words):
            return None
        self._at += 1
        return self._words[self._at - 1]

    def _need(self, what: str) -> str:
        word = self._next()
        if word is None:
            raise InvalidArgument(f"{self._item} ends where {what} is expected")
        return word

    def _skip(self, *optional: str) -> bool:
        there = self._at < len(self._words) and self._words[self._at] in optional
        self._at += there
        return there

    def _picture(self, text: str) -> Picture:
        try:
            return parse_picture(text)
        except InvalidArgument as error:
            raise InvalidArgument(f"{self._item}: {error.message}") from None

    def _usage(self, word: str) -> None:
        usage = _USAGES.get(word.replace("COMPUTATIONAL", "COMP"))
        if usage is None:
            known = ", ".join(_USAGES)
            raise InvalidArgument(f"{self._item} has the usage {word}, which is not supported: expected one of {known}")
        self._item.usage = usage

    def _sign(self, word: str) -> None:
        if word == "SIGN":
            self._skip("IS")
            word = self._need("LEADING or TRAILING")
        if word not in ("LEADING", "TRAILING"):
            raise InvalidArgument(f"{self._item} has SIGN {word}, expected LEADING or TRAILING")
        self._item.leading = word == "LEADING"
        self._item.separate = self._skip("SEPARATE")
        self._skip("CHARACTER")

    def _occurs(self) -> None:
        least = most = self._number()
        if self._skip("TO"):
            most = self._number()
        self._skip("TIMES")
        depending = ""
        while True:
            if self._skip("DEPENDING"):
                self._skip("ON")
                depending = self._qualified()
            elif self._skip("ASCENDING", "DESCENDING", "INDEXED"):
                self._skip("KEY")
                self._skip("IS", "BY")
                while self._at < len(self._words) and self._words[self._at] not in _CLAUSES | _TABLE:
                    self._at += 1
            else:
                break
        if most < 1 or least > most or (least != most and not depending):
            raise InvalidArgument(
                f"{self._item} OCCURS {least} TO {most}: expected at least 1, and TO with DEPENDING ON"
            )
        self._item.occurs = Occurs(0 if depending and least == most else least, most, depending)

    def _qualified(self) -> str:
        """``COUNT OF HEADER IN RECORD`` as ``RECORD.HEADER.COUNT``."""
        names = [self._need("a name")]
        while self._skip("OF", "IN"):
            names.insert(0, self._need("a name"))
        return ".".join(names)

    def _number(self) -> int:
        word = self._need("a number")
        if not word.isdecimal() or len(word) > 9:
            raise InvalidArgument(f"{self._item} has '{word}' where a number is expected")
        return int(word)

    def _values(self) -> None:
        self._skip("IS", "ARE")
        while self._at < len(self._words) and self._words[self._at] not in _CLAUSES:
            self._at += 1


_TABLE: Final = frozenset({"DEPENDING", "ASCENDING", "DESCENDING", "INDEXED"})
