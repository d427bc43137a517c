"""A batch of records as columns: one numpy array a field, what is missing, and which records are at fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol

import numpy as np

from gateway.core.errors import InvalidArgument
from gateway.core.tensor import STRING, Array

#: columns that a pipeline adds to those of the record, to be written as any other: the model and version that answered
MODEL: Final = "$model"
VERSION: Final = "$version"
TOMBSTONE: Final = "it has no value (a tombstone)"
#: among the errors: nothing comes of the record, and nothing is wrong with it
SKIPPED: Final = ""


class Kind(Enum):
    """What a field holds, and so the dtype of its column: float64, int64, bool, or object (`str`, or as it came)."""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    STRING = "string"
    ANY = "any"


DTYPES: Final = {
    Kind.NUMBER: np.dtype(np.float64),
    Kind.INTEGER: np.dtype(np.int64),
    Kind.BOOLEAN: np.dtype(np.bool_),
    Kind.STRING: STRING,
    Kind.ANY: STRING,
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field that is wanted of each record. Names are as the format has them: see its decoder.

    width       how many values it holds: 0 for one value, k for a list of k of them
    expression  `name` is a JMESPath expression, for the formats that are documents
    """

    name: str
    kind: Kind = Kind.ANY
    width: int = 0
    expression: bool = False


@dataclass(slots=True)
class Columns:
    """`rows` records. A row that is in `errors` has values without meaning.

    fields  name → array with dim 0 = `rows`: [rows], or [rows, k] where a record has k values
    valid   name → bool array of the field's shape, False where a value is missing; no entry: nothing is missing
    errors  row → the reason why this record, and no other, could not be used; SKIPPED: it is not to be used
    counts  where a record may have several rows of the model's inputs (a whole request is a record): how many each
            one has; dim 0 of `fields` is then their sum, 0 for a record that is in `errors`
    """

    rows: int
    fields: dict[str, Array]
    valid: dict[str, Array] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    counts: Array | None = None

    def blame(self, row: int, reason: str) -> None:
        """The first reason stays: later ones often follow from it."""
        self.errors.setdefault(row, reason)

    def skip(self, row: int) -> None:
        """Neither a result nor a dead letter comes of it, whatever was found before."""
        self.errors[row] = SKIPPED

    def faults(self) -> dict[int, str]:
        """The errors without what is skipped."""
        return {row: reason for row, reason in self.errors.items() if reason != SKIPPED}

    def kept(self) -> Array:
        """Indexes of the rows without an error, ascending."""
        if not self.errors:
            return np.arange(self.rows)
        good = np.ones(self.rows, np.bool_)
        good[list(self.errors)] = False
        return np.flatnonzero(good)

    def good(self) -> Columns:
        """The rows without an error; itself where there is none."""
        return self.take(self.kept()) if self.errors else self

    def take(self, at: Array) -> Columns:
        """The rows at these indexes. Errors stay behind."""
        rows = self.rows_of(at)
        return Columns(
            len(at),
            {name: array[rows] for name, array in self.fields.items()},
            {name: mask[rows] for name, mask in self.valid.items()},
            counts=None if self.counts is None else self.counts[at],
        )

    def rows_of(self, at: Array) -> Array:
        """Where in the arrays the records at these indexes lie."""
        if self.counts is None:
            return at
        ends = np.cumsum(self.counts)
        return np.concatenate([np.arange(0), *(np.arange(ends[i] - self.counts[i], ends[i]) for i in at.tolist())])

    def joined(self, fields: Mapping[str, Array]) -> Columns:
        """With more fields of the same rows, a model's outputs say; those hide fields of the same name."""
        valid = {name: mask for name, mask in self.valid.items() if name not in fields}
        return Columns(self.rows, {**self.fields, **fields}, valid, self.errors, self.counts)


@dataclass(slots=True)
class Encoded:
    """A value for each row (a Table for an output with columns); an empty one where `errors` says why not."""

    values: Sequence[bytes]
    errors: dict[int, str] = field(default_factory=dict)


class Decoder(Protocol):
    def decode(self, values: Sequence[bytes | None]) -> Columns:
        """One value is one record. A record that is at fault costs only itself; nothing is raised for it."""
        ...


class Encoder(Protocol):
    def encode(self, columns: Columns) -> Encoded:
        """`columns` has no errors. Raises InvalidArgument where a field that is to be written is not there."""
        ...


def objects(values: Sequence[Any]) -> Array:
    """An object array of these values, lists among them, in one dimension."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def rows_where(mask: Any) -> list[int]:
    """Indexes of the rows in which the mask is set anywhere, ascending."""
    if mask.ndim > 1:
        mask = mask.reshape(len(mask), -1).any(axis=1)
    found: list[int] = np.flatnonzero(mask).tolist()
    return found


def pick(columns: Columns, name: str, element: int = -1) -> tuple[Array, Array | None]:
    """A field, or one element of each of its rows, and its validity. Raises InvalidArgument naming the field."""
    array = columns.fields.get(name)
    if array is None:
        known = ", ".join(f"'{field}'" for field in columns.fields) or "none"
        raise InvalidArgument(f"field '{name}' is to be written, but the records have {known}")
    valid = columns.valid.get(name)
    if element < 0:
        return array, valid
    if array.ndim < 2 or element >= array.shape[1]:
        size = array.shape[1] if array.ndim > 1 else 1
        raise InvalidArgument(f"element {element} of field '{name}' is to be written, but it has {size}")
    return array[:, element], None if valid is None else valid[:, element]
