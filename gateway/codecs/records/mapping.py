"""Fields of records to the inputs of a model: checked against its signature before anything starts."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from gateway.codecs.records.columns import Columns, Field, Kind, rows_where
from gateway.codecs.records.document import getter
from gateway.codecs.records.path import parse_path
from gateway.core.errors import InvalidArgument
from gateway.core.signature import Signature
from gateway.core.tensor import Array, DataType, TensorSpec


class Required:
    """The default of a field that has none: a record without the field is at fault."""

    def __repr__(self) -> str:
        return "required"


REQUIRED: Final = Required()


@dataclass(frozen=True, slots=True)
class Pick:
    """A field, and what stands for it where it is missing. `expression`: `field` is a JMESPath expression."""

    field: str
    default: Any = REQUIRED
    expression: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """An input and the fields that make up one row of it: one each element, or one field that is a list of them all.

    `width`: how many values that list has, where the model's shape leaves it free.
    """

    input: str
    picks: tuple[Pick, ...]
    width: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """`where`: the input, and the number of the field within it from 0, -1 for the input as a whole."""

    input: str
    pick: int
    message: str

    def __str__(self) -> str:
        return f"{self.input}[{self.pick}]: {self.message}" if self.pick >= 0 else f"{self.input}: {self.message}"


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one input is filled. `lists`: its one field holds all elements of a row."""

    spec: TensorSpec
    shape: tuple[int, ...]
    kind: Kind
    picks: tuple[Pick, ...]
    lists: bool

    @property
    def size(self) -> int:
        return prod(self.shape)


def kind_of(datatype: DataType) -> Kind | None:
    """What a field must hold for an input of that type, None for BF16, which no record can."""
    match datatype.dtype.kind:
        case "f":
            return Kind.NUMBER
        case "i" | "u":
            return Kind.INTEGER
        case "b":
            return Kind.BOOLEAN
        case "O":
            return Kind.STRING
        case _:
            return None


def row_shape(spec: TensorSpec, signature: Signature) -> tuple[int, ...]:
    """The shape of what one record gives: without the batch axis, or without a first axis of 1."""
    if signature.batched or spec.shape[:1] in ((1,), (-1,)):
        return spec.shape[1:]
    return spec.shape


class Mapping:
    """Immutable; the same one serves every version of a model whose signature it was validated against."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries: Final = tuple(entries)

    def validate(self, signature: Signature, *, documents: bool = True) -> list[Problem]:
        """Everything that is wrong, in the order of the entries. `documents`: the format has nested names."""
        problems = [problem for entry in self.entries for problem in self._check(entry, signature, documents)]
        names = [entry.input for entry in self.entries]
        problems += [Problem(name, -1, "is mapped twice") for name in dict.fromkeys(names) if names.count(name) > 1]
        problems += [
            Problem(spec.name, -1, f"is an input of the model ({_described(spec)}), but no field is mapped to it")
            for spec in signature.inputs.values()
            if spec.name not in names
        ]
        return problems

    def fields(self, signature: Signature) -> tuple[Field, ...]:
        """What the decoder is to read. Raises InvalidArgument with the first problem, where there is one."""
        wanted: dict[str, Field] = {}
        for plan in self._plans(signature):
            width = plan.size if plan.lists else 0
            for pick in plan.picks:
                field = Field(pick.field, plan.kind, width, pick.expression)
                if wanted.setdefault(pick.field, field) != field:
                    raise InvalidArgument(f"field '{pick.field}' is mapped to inputs of different types")
        return tuple(wanted.values())

    def apply(self, columns: Columns, signature: Signature) -> dict[str, Array]:
        """The inputs, [n, …] with the n records that are not at fault, in their order: `columns.kept()`.

        Records that lack a field without default, or have a value that the input's type cannot hold, are added to
        `columns.errors` first.
        """
        found = {plan.spec.name: (plan, _filled(plan, columns)) for plan in self._plans(signature)}
        kept = columns.kept() if columns.errors else slice(None)
        rows = columns.rows - len(columns.errors)
        return {name: array[kept].reshape(rows, *plan.shape) for name, (plan, array) in found.items()}

    def _plans(self, signature: Signature) -> Iterator[_Plan]:
        for entry in self.entries:
            plan = _plan(entry, signature)
            if isinstance(plan, Problem):
                raise InvalidArgument(str(plan))
            yield plan

    @staticmethod
    def _check(entry: Entry, signature: Signature, documents: bool) -> Iterator[Problem]:
        for at, pick in enumerate(entry.picks):
            try:
                if pick.expression and not documents:
                    raise InvalidArgument(f"expression '{pick.field}' is for documents, this format has names only")
                if documents:
                    getter(Field(pick.field), None if pick.expression else parse_path(pick.field))
            except InvalidArgument as error:
                yield Problem(entry.input, at, error.message)
        plan = _plan(entry, signature)
        if isinstance(plan, Problem):
            yield plan
            return
        for at, pick in enumerate(plan.picks):
            if not isinstance(pick.default, Required):
                message = _unfit(pick.default, plan)
                if message:
                    yield Problem(entry.input, at, message)


def _plan(entry: Entry, signature: Signature) -> _Plan | Problem:
    spec = signature.inputs.get(entry.input)
    if spec is None:
        return Problem(entry.input, -1, f"is no input of the model{_hint(entry.input, signature.inputs)}")
    kind = kind_of(spec.datatype)
    if kind is None:
        return Problem(entry.input, -1, f"is {spec.datatype.name}, which records cannot hold")
    shape, count = row_shape(spec, signature), len(entry.picks)
    values = entry.width if entry.width and count == 1 else count
    if shape.count(-1) == 1:
        rest = -prod(shape)
        if rest < 1 or values % rest:
            return Problem(entry.input, -1, f"has the shape {list(spec.shape)}, which {values} values do not fill")
        shape = tuple(values // rest if size < 0 else size for size in shape)
    size = prod(shape)
    if -1 in shape or size < 1:
        return Problem(
            entry.input, -1, f"has the shape {list(spec.shape)}, and {values} values say not how large it is"
        )
    lists = count == 1 and (size > 1 or entry.width > 0)
    if (not lists and count != size) or (lists and entry.width not in (0, size)):
        return Problem(entry.input, -1, f"takes {size} values a record ({_described(spec)}), but {values} are mapped")
    return _Plan(spec, shape, kind, entry.picks, lists)


def _described(spec: TensorSpec) -> str:
    return f"{spec.datatype.name} {list(spec.shape)}"


def _hint(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f", did you mean '{near[0]}'?" if near else f", which takes {', '.join(known) or 'none'}"


def _unfit(default: Any, plan: _Plan) -> str:
    """Why the default is no value of the input, "" where it is one."""
    types = {Kind.NUMBER: (int, float), Kind.INTEGER: (int,), Kind.BOOLEAN: (bool,), Kind.STRING: (str,)}[plan.kind]
    wrong = not isinstance(default, types) or (isinstance(default, bool) and plan.kind is not Kind.BOOLEAN)
    if not wrong and plan.kind is Kind.INTEGER:
        limits = np.iinfo(plan.spec.datatype.dtype)
        wrong = not limits.min <= default <= limits.max
    if not wrong and plan.kind is Kind.NUMBER and np.isfinite(default):
        wrong = abs(default) > float(np.finfo(plan.spec.datatype.dtype).max)
    return f"has the default {default!r}, which {plan.spec.datatype.name} cannot be" if wrong else ""


def _filled(plan: _Plan, columns: Columns) -> Array:
    """[rows, size] of the input's type."""
    matrix = np.empty((columns.rows, plan.size), plan.spec.datatype.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        if plan.lists:
            (pick,) = plan.picks
            source = columns.fields[pick.field].reshape(matrix.shape)
            _check_range(pick, plan, source, columns)
            matrix[:] = source
            _fill_missing(pick, columns, matrix)
        else:
            for at, pick in enumerate(plan.picks):
                source = columns.fields[pick.field]
                _check_range(pick, plan, source, columns)
                matrix[:, at] = source
                if pick.field in columns.valid:
                    _fill_missing(pick, columns, matrix[:, at])
    if matrix.dtype.kind == "f" and matrix.dtype.itemsize < 8:
        _check_overflow(plan, matrix, columns)
    return matrix


def _fill_missing(pick: Pick, columns: Columns, target: Array) -> None:
    valid = columns.valid.get(pick.field)
    if valid is None:
        return
    valid = valid.reshape(target.shape)
    if isinstance(pick.default, Required):
        for row in rows_where(~valid):
            here = valid[row]
            if here.ndim and here.any():
                columns.blame(row, f"field '{pick.field}' has no value at [{int(here.argmin())}], and no default")
            else:
                columns.blame(row, f"field '{pick.field}' is missing, and has no default")
    else:
        target[~valid] = pick.default


def _check_range(pick: Pick, plan: _Plan, source: Array, columns: Columns) -> None:
    """Integers come as int64."""
    dtype = plan.spec.datatype.dtype
    if dtype.kind not in "iu" or dtype == source.dtype or not source.size:
        return
    limits = np.iinfo(dtype)
    least, most = int(limits.min), min(int(limits.max), (1 << 63) - 1)
    if source.min() >= least and source.max() <= most:
        return
    outside = (source < least) | (source > most)
    for row in rows_where(outside):
        value = source[row].reshape(-1)[outside[row].reshape(-1)][0]
        columns.blame(row, f"field '{pick.field}' is {value}, beyond {plan.spec.datatype.name}")


def _check_overflow(plan: _Plan, matrix: Array, columns: Columns) -> None:
    """A number that became infinite, and was not, is beyond the type."""
    infinite = np.isinf(matrix)
    if not infinite.any():
        return
    for row in rows_where(infinite):
        for at in rows_where(infinite[row]):
            pick = plan.picks[0 if plan.lists else at]
            source = columns.fields[pick.field]
            value = source[row].reshape(-1)[at] if plan.lists else source[row]
            if np.isfinite(value):
                columns.blame(row, f"field '{pick.field}' is {value}, beyond {plan.spec.datatype.name}")
