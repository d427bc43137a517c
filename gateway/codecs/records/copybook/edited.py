"""Numbers out of edited text, ``1,234.50-``: what a report shows, as a number.

Source: Enterprise COBOL for z/OS Language Reference, "PICTURE clause", "Editing rules".
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from gateway.codecs.records.columns import Columns
from gateway.core.tensor import Array

#: check protection, currency, insertions and a sign before the digits or behind them
_SHOWN: Final = re.compile(r"[ *$£€]*([+-]?)[ *$£€]*([0-9][0-9, /]*)?(\.[0-9]*)? *([+-]|CR|DB)?")
_INSERTED: Final = str.maketrans("", "", ", /")


def shown_numbers(columns: Columns, name: str, texts: Array, count: int) -> tuple[Array, Array | None]:
    """[elements * rows] of text to as many numbers, and where there are any, [elements, rows]; blank is missing."""
    values = np.full(len(texts), np.nan)
    for at, text in enumerate(texts.tolist()):
        if not text.strip(" *$£€"):
            continue
        found = _SHOWN.fullmatch(text)
        digits = f"{found[2] or ''}{found[3] or ''}".translate(_INSERTED) if found else ""
        if found is None or digits in ("", ".") or (found[1] and found[4]):
            columns.blame(at % columns.rows, f"field '{name}' is '{text[:32]}', which shows no number")
            continue
        values[at] = -float(digits) if found[1] == "-" or found[4] in ("-", "CR", "DB") else float(digits)
    missing = np.isnan(values)
    return values, ~missing.reshape(count, columns.rows) if missing.any() else None
