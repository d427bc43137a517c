"""COBOL source text to sentences: literals, COPY, and what a listing alone needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.codecs.records.copybook.reference import Format, Line, code_lines
from gateway.codecs.records.copybook.replacing import Replacing
from gateway.codecs.records.copybook.where import Where
from gateway.core.errors import InvalidArgument

_TOKEN: Final = re.compile(
    r"""\*>[^\n]*|==.*?==|[XxNnGgBbZzUu]{0,2}("(?:[^"\n]|"")*"|'(?:[^'\n]|'')*')|(["'])|[^\s"']+""", re.DOTALL
)
_LISTING: Final = frozenset({"EJECT", "SKIP1", "SKIP2", "SKIP3"})
#: copies within copies, and lines of all of them; more is a mistake or an attack
_DEPTH: Final = 16
_LINES: Final = 200_000


class Texts(Protocol):
    def read(self, name: str) -> tuple[str, str]:
        """The name of the file that COPY names, and its text. Raises InvalidArgument."""
        ...


@dataclass(frozen=True, slots=True)
class Sentence:
    """What stands before a period. Words are in capitals but for literals, which keep their quotes."""

    where: Where
    words: tuple[str, ...]


class Source:
    """One copybook and what it copies.

    name       of its file, for messages
    replacing  is done in each text as it is, as COPY … REPLACING does with ``:TAG:``
    texts      what COPY finds; None: it is refused
    """

    def __init__(
        self,
        text: str,
        format: Format = "auto",
        *,
        name: str = "",
        replacing: Mapping[str, str] | None = None,
        texts: Texts | None = None,
    ) -> None:
        self._text: Final = text
        self._format: Final = format
        self._name: Final = name
        self._replacing: Final = replacing or {}
        self._texts: Final = texts
        self._lines = 0

    def sentences(self) -> list[Sentence]:
        """Raises InvalidArgument."""
        return list(self._split(self._name, self._text, self._format, (self._name,), ()))

    def _split(
        self, name: str, text: str, format: Format, files: tuple[str, ...], replacings: tuple[Replacing, ...]
    ) -> Iterator[Sentence]:
        """`files`: this one and those that copy it, the last one first."""
        lines = code_lines(text, format, name)
        self._lines += len(lines)
        if self._lines > _LINES:
            raise InvalidArgument(f"{lines[0].where}: the copybook and what it copies exceed {_LINES} lines")
        joined = "\n".join(line.text for line in lines)
        for old, new in self._replacing.items():
            joined = joined.replace(old, new.replace("\n", " "))
        for replacing in replacings:
            joined = replacing.apply(joined)
        for where, words in _sentences(joined, lines):
            if words[0].upper() == "COPY":
                yield from self._copied(where, words[1:], files, replacings)
            else:
                yield Sentence(where, tuple(_plain(word) for word in words))

    def _copied(
        self, where: Where, words: list[str], files: tuple[str, ...], replacings: tuple[Replacing, ...]
    ) -> Iterator[Sentence]:
        try:
            name, own = _copy(words)
            if self._texts is None:
                raise InvalidArgument(f"COPY {name} needs a folder to look in, and this copybook has none")
            file, text = self._texts.read(name)
        except InvalidArgument as error:
            raise InvalidArgument(f"{where}: {error.message}") from error
        if file in files or len(files) > _DEPTH:
            raise InvalidArgument(f"{where} copies {file}, which is within {' within '.join(filter(None, files))}")
        yield from self._split(file, text, self._format, (file, *files), (*own, *replacings))


def _sentences(text: str, lines: list[Line]) -> Iterator[tuple[Where, list[str]]]:
    """`lines` are those of the text, as many as it has. Words are as they are written."""
    words: list[str] = []
    begin = lines[0].where if lines else Where(1)
    number = at = 0
    for token in _TOKEN.finditer(text):
        number, at = number + text.count("\n", at, token.start()), token.start()
        where = lines[number].where
        if token[2]:
            raise InvalidArgument(f"{where} has a literal that is not closed")
        if token[0].startswith("*>") or (not words and token[0].upper().rstrip(".") in _LISTING):
            continue
        begin = begin if words else where
        word = token[0] if token[1] else token[0].rstrip(",;")
        ended = word.endswith(".") and not token[1]
        if word := word[:-1] if ended else word:
            words.append(word)
        if words and (ended or (words[0].upper() == "TITLE" and len(words) == 2)):
            if words[0].upper() != "TITLE":
                yield begin, words
            words = []
    if words:
        raise InvalidArgument(
            f"{begin} begins '{' '.join(words[:4])}', but no period ends it: in fixed format only columns 8 to 72 are"
            " read"
        )


def _plain(word: str) -> str:
    return word if word[-1] in "\"'" else word.upper()


def _copy(words: list[str]) -> tuple[str, tuple[Replacing, ...]]:
    """``name [OF library] [SUPPRESS] [REPLACING a BY b …]``: the library does not matter. Raises InvalidArgument."""
    left = list(words)

    def take(what: str) -> str:
        if not left:
            raise InvalidArgument(f"COPY {' '.join(words[:3])} ends where {what} is expected")
        return left.pop(0)

    name = take("a name").strip("\"'")
    if left and left[0].upper() in ("OF", "IN"):
        del left[:2]
    if left and left[0].upper() == "SUPPRESS":
        del left[0]
    if not left:
        return name, ()
    if (word := take("REPLACING")).upper() != "REPLACING":
        raise InvalidArgument(f"COPY {name} has '{word}', expected REPLACING")
    pairs: list[tuple[str, str, str]] = []
    while left or not pairs:
        old = take("what is replaced")
        part = old.upper() if old.upper() in ("LEADING", "TRAILING") else ""
        old = take("what is replaced") if part else old
        if (word := take("BY")).upper() != "BY":
            raise InvalidArgument(f"COPY {name} has '{word}' behind {old}, expected BY")
        pairs.append((part, old, take("what replaces it")))
    return name, (Replacing(pairs),)
