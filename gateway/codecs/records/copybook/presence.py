"""Which bytes of the longest record a shorter one has: what lies between is the same, in the same order."""

from __future__ import annotations

from typing import Final

import numpy as np

from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.core.tensor import Array


class Presence:
    """The bytes of the elements that are there, and all that are in no variable table."""

    def __init__(self, layout: RecordLayout) -> None:
        #: by table, which of its elements each byte of the longest record lies in, -1 for none: int32
        self._elements: Final = layout.elements()

    def of(self, counts: Array, end: int | None = None) -> Array:
        """[rows, tables] of what the first tables count → bool [rows, bytes], of the first `end` bytes."""
        there: Array = np.ones((len(counts), len(self._elements[0][:end])), np.bool_)
        for elements, count in zip(self._elements, counts.T.astype(np.int32), strict=False):
            there &= elements[:end] < count[:, None]
        return there
