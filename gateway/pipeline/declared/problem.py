"""What is wrong with a stream's file, and where: all of it is told at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from gateway.settings import SettingsError


class Place(NamedTuple):
    """`line` from 1; 0 where no line can be named."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Problem(NamedTuple):
    """`field` is dotted, with [n] for the elements of a list; "" is the file as a whole."""

    place: Place
    field: str
    message: str

    def __str__(self) -> str:
        """One line, whatever the file holds."""
        text = f"{self.place}: {self.field}: {self.message}" if self.field else f"{self.place}: {self.message}"
        if text.isprintable():
            return text
        return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


class StreamError(SettingsError):
    """A stream cannot be built as it was written."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def nearest(name: str, known: Collection[str]) -> str:
    """A hint behind an unknown name: the known one that looks most like it, else all of them."""
    close = get_close_matches(name, known, 1, 0.6)
    if close:
        return f", did you mean '{close[0]}'?"
    return f", expected one of {', '.join(known)}" if known else ", expected none"
