"""A line of a copybook."""

from __future__ import annotations

from typing import NamedTuple


class Where(NamedTuple):
    """`file` is "" where the text has no name of its own."""

    line: int
    file: str = ""

    def __str__(self) -> str:
        return f"line {self.line} of {self.file or 'the copybook'}"
