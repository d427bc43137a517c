"""The reference format of COBOL source: what of a line is text, what is a comment, and what goes on in the next one.

Source: Enterprise COBOL for z/OS Language Reference, "Reference format"; free format: GnuCOBOL Programmer's Guide.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from gateway.codecs.records.copybook.where import Where
from gateway.core.errors import InvalidArgument

Format = Literal["auto", "fixed", "free"]

#: in fixed format the text stands in columns 8 to 72, its kind in column 7
_BEGIN: Final = 7
_END: Final = 72
_LEVEL_EARLY: Final = re.compile(r" {0,6}\d{1,2} +[A-Za-z:]")
_FREE: Final = re.compile(
    r"\s*(?:>>\s*SOURCE\s+(?:FORMAT\s+)?(?:IS\s+)?|\$\s*SET\s+SOURCEFORMAT\W*)FREE\b", re.IGNORECASE
)


class Line(NamedTuple):
    where: Where
    text: str


def code_lines(text: str, format: Format = "auto", file: str = "") -> list[Line]:
    """Continued lines are joined to the one that they continue. Raises InvalidArgument."""
    lines = [line.expandtabs(8) for line in text.splitlines()]
    free = _is_free(lines) if format == "auto" else format == "free"
    numbered = [Line(Where(number, file), line) for number, line in enumerate(lines, 1)]
    return _free(numbered) if free else _fixed(numbered)


def _is_free(lines: list[str]) -> bool:
    """A level number stands before column 8, or a directive says so."""
    return any(_LEVEL_EARLY.match(line) or _FREE.match(line) for line in lines if line[6:7] not in ("*", "/"))


def _free(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line.text.strip() and not line.text.lstrip().startswith(("*", ">>", "$"))]


def _fixed(lines: list[Line]) -> list[Line]:
    code: list[Line] = []
    for where, line in lines:
        kind, text = line[6:7], line[_BEGIN:_END]
        if kind in ("*", "/", "$") or kind in ("D", "d") or not text.strip() or text.lstrip().startswith(">>"):
            continue
        if kind == "-":
            if not code:
                raise InvalidArgument(f"{where} continues a line, but is the first")
            code[-1] = code[-1]._replace(text=_continued(code[-1].text, text))
        elif kind in ("", " "):
            code.append(Line(where, text.ljust(_END - _BEGIN)))
        else:
            raise InvalidArgument(
                f"{where} has '{kind}' in column 7, expected a blank, *, / or -: is it in free format?"
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
