"""COPY … REPLACING: words of a copied text that give way to others.

Source: Enterprise COBOL for z/OS Language Reference, "COPY statement", "Replacement and comparison rules".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gateway.core.errors import InvalidArgument

_LITERAL: Final = r"\"(?:[^\"\n]|\"\")*\"|'(?:[^'\n]|'')*'"
_BEFORE: Final = r"(?<![A-Za-z0-9_-])"
_BEHIND: Final = r"(?![A-Za-z0-9_-])"


class Replacing:
    """Pairs of operands as they are written: pseudo-text between ``==``, a literal or a word.

    The first pair whose words stand at a place wins, what was put there is not looked at again, and the insides of
    literals stay as they are. Lines keep their numbers.
    """

    def __init__(self, pairs: Sequence[tuple[str, str, str]]) -> None:
        """pairs: LEADING, TRAILING or "", what gives way, and to what. Raises InvalidArgument."""
        self._texts: Final = [" ".join(_content(new).split()) for _, _, new in pairs]
        patterns = [f"({_pattern(part, old)})" for part, old, _ in pairs]
        self._pattern: Final = re.compile("|".join([*patterns, _LITERAL]), re.IGNORECASE)

    def apply(self, text: str) -> str:
        return self._pattern.sub(self._replaced, text)

    def _replaced(self, found: re.Match[str]) -> str:
        if found.lastindex is None:
            return found[0]
        return self._texts[found.lastindex - 1] + "\n" * found[0].count("\n")


def _content(operand: str) -> str:
    return operand[2:-2] if operand.startswith("==") else operand


def _pattern(part: str, operand: str) -> str:
    words = _content(operand).split()
    if not words:
        raise InvalidArgument(f"REPLACING has '{operand}', expected words between the ==")
    pattern = r"\s+".join(map(re.escape, words))
    if _is_wordlike(words[0][0]) and part != "TRAILING":
        pattern = _BEFORE + pattern
    if _is_wordlike(words[-1][-1]) and part != "LEADING":
        pattern += _BEHIND
    return pattern


def _is_wordlike(char: str) -> bool:
    return char.isalnum() or char in "-_"
