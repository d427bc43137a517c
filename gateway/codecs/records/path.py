"""Names of fields within a document: ``customer.age``, ``scores[0]``, ``"a name with a . in it".b``."""

from __future__ import annotations

import re
from typing import Final

from gateway.core.errors import InvalidArgument

Path = tuple[str | int, ...]

_STEP: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|\[(\d{1,9})\]|([^."\[\]]+)')


def parse_path(text: str) -> Path:
    """A name's characters stand for themselves but for ``. " [ ]``, which need quotes. Raises InvalidArgument."""
    steps: list[str | int] = []
    at = 0
    while at < len(text) or not steps:
        if steps and text[at] == "." and text[at + 1 : at + 2] != "[":
            at += 1
        elif steps and text[at] != "[":
            raise _malformed(text, at)
        step = _STEP.match(text, at)
        if step is None or (not steps and step[2] is not None):
            raise _malformed(text, at)
        if step[2] is not None:
            steps.append(int(step[2]))
        else:
            steps.append(step[3] if step[1] is None else re.sub(r"\\(.)", r"\1", step[1]))
        at = step.end()
    return tuple(steps)


def _malformed(text: str, at: int) -> InvalidArgument:
    return InvalidArgument(
        f"field name '{text}' is malformed at character {at + 1}: expected names joined by dots, [n] for an element,"
        ' and quotes "…" round a name that holds . " [ or ]'
    )
