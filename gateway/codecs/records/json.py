"""JSON records, one object a value, to columns: the wanted fields alone are read, straight into their types.

A field that is absent, and one that is `null`, is missing. `NaN` is not JSON, but what Python writes for a missing
number: it reads as missing, too. JSON Lines are these records, cut at line ends by `framing.Lines`.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import starmap
from operator import attrgetter, itemgetter
from typing import Any, Final

import msgspec
import numpy as np

from gateway.codecs.records.build import TYPES, column, reason
from gateway.codecs.records.columns import TOMBSTONE, Columns, Field, Kind, rows_where
from gateway.codecs.records.document import Getter, getter
from gateway.codecs.records.path import Path, parse_path
from gateway.core.tensor import Array

#: characters that msgspec has no names with
_ODD: Final = re.compile(r'["\\\x00-\x1f]')
_NAN: Final = math.nan
#: records that are objects at the same time: as many as a core's own cache holds
_CHUNK: Final = 200
_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError)


class JsonDecoder:
    """`strict` False also takes numbers and booleans that are written as strings."""

    def __init__(self, fields: Sequence[Field], *, strict: bool = True) -> None:
        """Raises InvalidArgument for a malformed field name or expression."""
        self._fields: Final = tuple(fields)
        self._strict: Final = strict
        paths = [None if field.expression else parse_path(field.name) for field in fields]
        self._schema: Final = _Schema(fields, [path for path in paths if path is not None], strict)
        self._getters: Final = (
            None if self._schema.exact else [getter(f, p) for f, p in zip(fields, paths, strict=True)]
        )

    def decode(self, values: Sequence[bytes | None]) -> Columns:
        columns = Columns(len(values), {})
        if self._getters is not None:
            self._pick(columns, self._read(values, 0, columns), self._getters)
            return columns
        filling = _Filling(self._schema, len(values))
        for start in range(0, len(values), _CHUNK):
            filling.add(self._read(values[start : start + _CHUNK], start, columns))
        filling.into(columns)
        return columns

    def _read(self, values: Sequence[bytes | None], start: int, columns: Columns) -> list[Any]:
        """`start`: the row of the first of them."""
        records: list[Any] = []
        rest = map(self._schema.decode, values)
        while True:
            try:
                # what was read before a bad record stays in the list, and the iterator goes on behind it
                records.extend(rest)
            except _BROKEN as error:
                row = len(records)
                records.append(self._second_look(values[row], start + row, error, columns))
            else:
                return records

    def _second_look(self, value: bytes | None, row: int, error: Exception, columns: Columns) -> Any:
        if value is None:
            columns.blame(row, TOMBSTONE)
        elif not isinstance(error, msgspec.ValidationError) and (b"NaN" in value or b"Infinity" in value):
            try:
                return self._schema.convert(json.loads(value))
            except (ValueError, RecursionError, msgspec.ValidationError) as second:
                columns.blame(row, reason(second))
        else:
            columns.blame(row, reason(error))
        return self._schema.blank()

    def _pick(self, columns: Columns, records: list[Any], getters: list[Getter]) -> None:
        for field, get in zip(self._fields, getters, strict=True):
            found = []
            for row, record in enumerate(records):
                try:
                    found.append(get(record))
                except (ValueError, ArithmeticError, AttributeError, TypeError, LookupError) as error:
                    # JMESPath's own errors are ValueErrors, its functions raise the others
                    columns.blame(row, f"field '{field.name}': {error}")
                    found.append(None)
            column(columns, field, found, checked=False, strict=self._strict)


class _Schema:
    """What is read of a record. `exact`: a struct of just the wanted fields; else a dict of everything."""

    def __init__(self, fields: Sequence[Field], paths: list[Path], strict: bool) -> None:
        self.exact: Final = len(paths) == len(fields) and _is_tree(paths)
        self._strict: Final = strict
        schema: Any = dict[str, Any]
        if self.exact:
            names: dict[int, str] = {}
            numbers = [i for i, field in enumerate(fields) if field.kind is Kind.NUMBER and not field.width]
            others = [i for i in range(len(fields)) if i not in set(numbers)]
            schema = _struct(((i, paths[i], fields[i]) for i in numbers + others), "", names)
            self.numbers: Final = [fields[i] for i in numbers]
            self.others: Final = [fields[i] for i in others]
            flat = all(len(path) == 1 for path in paths)
            self.number_values: Final = (
                _first(len(numbers), len(fields)) if flat else _reader([names[i] for i in numbers])
            )
            self.other_values: Final = _reader([names[i] for i in others])
        self.type: Final = schema
        self.blank: Final[Callable[[], Any]] = schema if self.exact else dict
        self.decode: Final[Callable[[Any], Any]] = msgspec.json.Decoder(schema, strict=strict).decode

    def convert(self, found: Any) -> Any:
        return msgspec.convert(found, self.type, strict=self._strict)


class _Filling:
    """The columns of a batch whose records come in parts, as structs: numbers as a matrix, the others as they are."""

    def __init__(self, schema: _Schema, rows: int) -> None:
        self._schema: Final = schema
        self._matrix: Final[Array] = np.empty((rows, len(schema.numbers)))
        #: as C has a record's numbers, one after the other
        self._pack: Final = struct.Struct(f"{len(schema.numbers)}d").pack
        self._others: Final[list[list[Any]]] = [[] for _ in schema.others]
        self._rows = 0

    def add(self, records: list[Any]) -> None:
        part = self._matrix[self._rows : self._rows + len(records)]
        self._rows += len(records)
        if self._schema.numbers:
            read = self._schema.number_values
            try:
                part[:] = np.frombuffer(b"".join(starmap(self._pack, read(records)))).reshape(part.shape)
            except struct.error:  # a null among them
                part[:] = np.array(list(read(records)), np.float64)
        if self._others:
            for values, more in zip(self._others, zip(*self._schema.other_values(records), strict=True), strict=True):
                values.extend(more)

    def into(self, columns: Columns) -> None:
        """A missing number is NaN already."""
        missing: Array = np.isnan(self._matrix)
        some = set(rows_where(missing.T)) if missing.any() else ()
        for at, field in enumerate(self._schema.numbers):
            columns.fields[field.name] = self._matrix[:, at]
            if at in some:
                columns.valid[field.name] = ~missing[:, at]
        for field, values in zip(self._schema.others, self._others, strict=True):
            column(columns, field, values, checked=True)


def _is_tree(paths: list[Path]) -> bool:
    """No list is indexed, no field is within another one, none is wanted twice, and msgspec takes all names."""
    known = set(paths)
    return len(known) == len(paths) and not any(
        any(isinstance(step, int) or _ODD.search(step) for step in path)
        or any(path[:i] in known for i in range(1, len(path)))
        for path in paths
    )


def _struct(wanted: Iterable[tuple[int, Path, Field]], at: str, names: dict[int, str]) -> type[msgspec.Struct]:
    """`names` is given each field's attribute path by its index: ``f0``, ``f1.f0``…"""
    groups: dict[str, list[tuple[int, Path, Field]]] = {}
    for index, path, field in wanted:
        groups.setdefault(str(path[0]), []).append((index, path[1:], field))
    members: list[tuple[str, Any, Any]] = []
    for group in groups.values():
        name = f"f{len(members)}"
        index, rest, field = group[0]
        if rest:
            nested = _struct(group, f"{at}{name}.", names)
            members.append((name, nested | None, msgspec.field(default_factory=nested)))
        else:
            names[index] = at + name
            default = _NAN if field.kind is Kind.NUMBER and not field.width else None
            members.append((name, TYPES[field.kind, field.width > 0], default))
    rename = {member[0]: key for member, key in zip(members, groups, strict=True)}
    return msgspec.defstruct("Record", members, rename=rename, gc=False)


def _first(count: int, fields: int) -> Callable[[list[Any]], Iterator[tuple[Any, ...]]]:
    """Gives the values of each record's first fields: a third of the time of a look at each by its name."""
    if count == fields:
        return lambda records: map(msgspec.structs.astuple, records)
    cut = itemgetter(slice(count))
    return lambda records: map(cut, map(msgspec.structs.astuple, records))


def _reader(names: Sequence[str]) -> Callable[[list[Any]], Iterator[tuple[Any, ...]]]:
    """Gives each record's values of these attributes, one record at a time: rows that are kept wake the collector."""
    if not any("." in name for name in names):
        get = attrgetter(*names) if names else None
        if len(names) == 1:
            return lambda records: zip(map(get, records), strict=True)  # type: ignore[arg-type]
        return lambda records: map(get, records)  # type: ignore[arg-type]
    together = attrgetter(*names, names[0])  # a tuple in any case

    def read(records: list[Any]) -> Iterator[tuple[Any, ...]]:
        for record in records:
            try:
                yield together(record)[:-1]
            except AttributeError:  # an object on the way to a field is null
                yield tuple(_step_by_step(record, name) for name in names)

    return read


def _step_by_step(record: Any, name: str) -> Any:
    for step in name.split("."):
        if record is None:
            return None
        record = getattr(record, step)
    return record
