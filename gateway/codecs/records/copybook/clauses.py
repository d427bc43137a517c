"""The clauses of a data item.

Source: Enterprise COBOL for z/OS Language Reference, "Data division--data description entry"; for usages that it lacks
the GnuCOBOL Programmer's Guide, "USAGE".
"""

from __future__ import annotations

from typing import Final

from gateway.codecs.records.copybook.item import Item, Occurs, Usage
from gateway.codecs.records.copybook.picture import Picture, parse_picture
from gateway.core.errors import InvalidArgument

_USAGES: Final = {
    "DISPLAY": Usage.DISPLAY,
    "NATIONAL": Usage.NATIONAL,
    "BINARY": Usage.BINARY,
    "COMP": Usage.BINARY,
    "COMP-4": Usage.BINARY,
    "COMP-5": Usage.NATIVE,
    "COMP-3": Usage.PACKED,
    "PACKED-DECIMAL": Usage.PACKED,
    "COMP-6": Usage.UNSIGNED_PACKED,
    "COMP-X": Usage.FULL,
    "COMP-1": Usage.FLOAT,
    "COMP-2": Usage.DOUBLE,
    "FLOAT-SHORT": Usage.FLOAT,
    "FLOAT-LONG": Usage.DOUBLE,
}
#: usages that say how long they are: the digits whose number has that length
_SIZED: Final = {
    "BINARY-CHAR": (Usage.FULL, 2),
    "BINARY-SHORT": (Usage.NATIVE, 4),
    "BINARY-LONG": (Usage.NATIVE, 9),
    "BINARY-INT": (Usage.NATIVE, 9),
    "BINARY-DOUBLE": (Usage.NATIVE, 18),
}
_ADDRESS: Final = "an address, which means nothing outside of its program: expected PIC X({}) in its place"
_REFUSED: Final = {
    "INDEX": "a table's index, which means nothing outside of its program: expected PIC X(4) in its place",
    "POINTER": _ADDRESS.format("4") + ", or PIC X(8) where it has 64 bits",
    "POINTER-32": _ADDRESS.format(4),
    "PROCEDURE-POINTER": _ADDRESS.format(8),
    "FUNCTION-POINTER": _ADDRESS.format(4),
    "OBJECT": _ADDRESS.format(4),
    "COMP-N": "whose byte order differs between compilers: expected COMP-X, most significant byte first, or COMP-5",
    "DISPLAY-1": "text of two-byte characters (DBCS), which is not supported: expected PIC X of twice its length, or N",
    "UTF-8": "text in UTF-8, which is not supported: expected PIC X of its bytes",
}
CLAUSES: Final = frozenset(
    ("REDEFINES", "PIC", "PICTURE", "USAGE", "SIGN", "LEADING", "TRAILING", "OCCURS", "VALUE", "VALUES", "SYNC",
     "SYNCHRONIZED", "JUST", "JUSTIFIED", "BLANK", "EXTERNAL", "GLOBAL", "VOLATILE", *_USAGES, *_SIZED, *_REFUSED)
)  # fmt: skip
_TABLE: Final = frozenset({"DEPENDING", "ASCENDING", "DESCENDING", "INDEXED"})


class Clauses:
    """Reads the clauses of one item; words that COBOL lets one leave out are skipped."""

    def __init__(self, item: Item, words: list[str]) -> None:
        self._item = item
        self._words = words
        self._at = 0

    def read(self) -> None:
        while (word := self._next()) is not None:
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
                    self._item.justified = True
                case "BLANK":
                    self._skip("WHEN")
                    self._skip("ZERO", "ZEROS", "ZEROES")
                    self._item.blank_zero = True
                case "EXTERNAL" | "GLOBAL" | "VOLATILE" | "IS":
                    pass
                case _ if _short(word) in CLAUSES:
                    self._usage(word)
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
        short = _short(word)
        if short in _SIZED:
            usage, digits = _SIZED[short]
            signed = not self._skip("UNSIGNED")
            self._skip("SIGNED")
            self._item.picture = Picture(digits, True, signed, digits)
        elif short in _USAGES:
            usage = _USAGES[short]
        else:
            known = ", ".join((*_USAGES, *_SIZED))
            reason = _REFUSED.get(short, f"which is not known: expected one of {known}")
            raise InvalidArgument(f"{self._item} has the usage {word}, {reason}")
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
                while self._at < len(self._words) and self._words[self._at] not in CLAUSES | _TABLE:
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
        while self._at < len(self._words) and self._words[self._at] not in CLAUSES:
            self._at += 1


def _short(usage: str) -> str:
    return usage.replace("COMPUTATIONAL", "COMP")
