"""COBOL source text to sentences: columns, comments, continued lines, literals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from gateway.core.errors import InvalidArgument

Format = Literal["auto", "fixed", "free"]

#: in fixed format the text stands in columns 8 to 72, its kind in column 7
_BEGIN: Final = 7
_END: Final = 72
_LEVEL_EARLY: Final = re.compile(r" {0,6}\d{1,2} +[A-Za-z:]")
_TOKEN: Final = re.compile(r"""[XxNnGgBbZz]{0,2}("(?:[^"]|"")*"|'(?:[^']|'')*')|(["'])|[^\s"']+|\n""")
_LISTING: Final = frozenset({"EJECT", "SKIP1", "SKIP2", "SKIP3"})


@dataclass(frozen=True, slots=True)
class Sentence:
    """What stands before a period. Words are in capitals but for literals, which keep their quotes."""

    line: int
    words: tuple[str, ...]


def sentences(text: str, format: Format = "auto", replacing: Mapping[str, str] | None = None) -> list[Sentence]:
    """`replacing` is done in each line's text, as COPY … REPLACING does with ``:TAG:``. Raises InvalidArgument."""
    lines = [line.expandtabs(8) for line in text.splitlines()]
    if format == "auto":
        code = _free(lines) if _is_free(lines) else _fixed(lines)
    else:
        code = _free(lines) if format == "free" else _fixed(lines)
    for old, new in (replacing or {}).items():
        code = {number: line.replace(old, new) for number, line in code.items()}
    return _split(code)


def _is_free(lines: list[str]) -> bool:
    """A level number stands before column 8."""
    return any(_LEVEL_EARLY.match(line) for line in lines if line[6:7] not in ("*", "/"))


def _free(lines: list[str]) -> dict[int, str]:
    return {
        number: line
        for number, line in enumerate(lines, 1)
        if not line.lstrip().startswith(("*", ">>", "$")) and line.strip()
    }


def _fixed(lines: list[str]) -> dict[int, str]:
    """By the number of the line on which each begins; continued lines are joined to it."""
    code: dict[int, str] = {}
    last = 0
    for number, line in enumerate(lines, 1):
        kind, text = line[6:7], line[_BEGIN:_END]
        if kind in ("*", "/", "$") or kind in ("D", "d") or not text.strip() or text.lstrip().startswith(">>"):
            continue
        if kind == "-":
            if not last:
                raise InvalidArgument(f"line {number} of the copybook continues a line, but is the first")
            code[last] = _continued(code[last], text)
        elif kind in ("", " "):
            code[last := number] = text.ljust(_END - _BEGIN)
        else:
            raise InvalidArgument(
                f"line {number} of the copybook has '{kind}' in column 7, expected a blank, *, / or -:"
                " is it in free format?"
            )
    return code


def _continued(before: str, text: str) -> str:
    quote = _open_quote(before)
    text = text.lstrip() if not quote else text.lstrip().removeprefix(quote)
    return (before if quote else before.rstrip()) + text


def _open_quote(text: str) -> str:
    quote = ""
    for char in text:
        if not quote and char in "\"'":
            quote = char
        elif char == quote:
            quote = ""
    return quote


def _split(code: dict[int, str]) -> list[Sentence]:
    found: list[Sentence] = []
    words: list[str] = []
    begin = 0
    for number, line in code.items():
        for token in _words(line, number):
            if not words and token.upper() in _LISTING:
                continue
            begin = begin if words else number
            word = token if token[-1] in "\"'" else token.rstrip(",;").upper()
            if word.endswith("."):
                if word != ".":
                    words.append(word[:-1])
                if words:
                    found.append(Sentence(begin, tuple(words)))
                words = []
            elif word:
                words.append(word)
    if words:
        raise InvalidArgument(f"line {begin} of the copybook begins '{' '.join(words[:4])}', but no period ends it")
    return found


def _words(line: str, number: int) -> list[str]:
    words = []
    for token in _TOKEN.finditer(line):
        if token[2]:
            raise InvalidArgument(f"line {number} of the copybook has a literal that is not closed")
        if token[0].startswith("*>"):
            break
        words.append(token[0])
    return words
