"""Records of a source that has columns, a database say: kept as columns, read as bytes by who must."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any, overload


class Table(Sequence[bytes]):
    """Stands where a batch has its values: `Batch.values`, `Encoded.values`. Each record as bytes is a JSON object.

    names    the fields
    columns  one sequence of Python values a field, all of the same length; None is NULL

    A decoder and an output that know it take the columns as they are, and no record is ever text. The bytes are for
    the others: dead letters, a dry run, an output that appends lines.
    """

    __slots__ = ("columns", "names")

    def __init__(self, names: tuple[str, ...], columns: Sequence[Sequence[Any]]) -> None:
        self.names = names
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> Table: ...

    def __getitem__(self, at: int | slice) -> bytes | Table:
        if isinstance(at, slice):
            return Table(self.names, [column[at] for column in self.columns])
        record = {name: column[at] for name, column in zip(self.names, self.columns, strict=True)}
        return json.dumps(record, default=_text, ensure_ascii=False, separators=(",", ":")).encode()

    @staticmethod
    def joined(tables: Sequence[Table]) -> Table:
        """Tables with the same names, one below the other."""
        across = zip(*(table.columns for table in tables), strict=True)
        return Table(tables[0].names, [list(chain.from_iterable(parts)) for parts in across])

    def take(self, at: Sequence[int]) -> Table:
        """The records at these indexes, in this order."""
        return Table(self.names, [[column[i] for i in at] for column in self.columns])


def _text(value: Any) -> str:
    """What JSON has no type for: a date and a time in ISO 8601, a decimal with all its digits, bytes as hex."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
