"""Tombstones that nothing is to come of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.codecs.records.columns import TOMBSTONE, Columns, Decoder


class Skipping:
    """Skips tombstones, which the decoder within finds fault with."""

    def __init__(self, inner: Decoder) -> None:
        self._inner: Final = inner

    def decode(self, values: Sequence[bytes | None]) -> Columns:
        columns = self._inner.decode(values)
        for row in [row for row, told in columns.errors.items() if told == TOMBSTONE]:
            columns.skip(row)
        return columns
