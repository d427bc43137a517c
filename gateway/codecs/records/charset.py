"""Single-byte character sets as tables of 256: ASCII, the ISO and Windows ones, EBCDIC cp037, cp500, cp1140…"""

from __future__ import annotations

import codecs
from functools import lru_cache
from typing import Any, Final

import numpy as np

from gateway.core.errors import InvalidArgument
from gateway.core.tensor import Array

#: in a table: no character (the convention of Python's charmap codecs); in decoded text: a byte that had none
_UNDEFINED: Final = "\ufffe"
UNREADABLE: Final = "\ufffd"


class Charset:
    """`name` as Python's codecs know it; `ebcdic` says where its digits lie; `space` is its blank's code."""

    def __init__(self, name: str) -> None:
        """Raises InvalidArgument where it is unknown, or needs more than a byte for a character."""
        try:
            self.name: Final = codecs.lookup(name).name
            chars = [bytes([byte]).decode(name, "ignore") or _UNDEFINED for byte in range(256)]
        except (LookupError, UnicodeError, ValueError):
            chars = []
        table = "".join(chars)
        single = len(table) == 256 and all(sign in table for sign in " 0123456789+-")
        if not single or (table.count(_UNDEFINED) >= 128 and self.name != "ascii"):
            raise InvalidArgument(
                f"the character set '{name}' is not one of single bytes that is known: expected ascii, cp1252, cp037,"
                " cp500, cp1140…"
            )
        self._table: Final = table
        self._codes: Final[Any] = codecs.charmap_build(table)
        self.ebcdic: Final = table[0xF0:0xFA] == "0123456789"
        self.space: Final = self.encode(" ")[0]

    def decode(self, data: bytes) -> str:
        """One character a byte, UNREADABLE for one that has none."""
        return codecs.charmap_decode(data, "replace", self._table)[0]

    def encode(self, text: str) -> bytes:
        """Raises UnicodeEncodeError."""
        return codecs.charmap_encode(text, "strict", self._codes)[0]

    def to_ascii(self) -> Array:
        """byte → the ASCII code of its character, 0x1A (substitute) for all others."""
        return np.array([ord(char) if char.isascii() else 0x1A for char in self._table], np.uint8)


@lru_cache(maxsize=64)
def charset(name: str) -> Charset:
    return Charset(name)
