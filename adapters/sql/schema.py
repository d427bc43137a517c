"""What a table looks like, as the database tells it when a pipeline connects."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any

from sqlalchemy import inspect, types
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection as Engine
from sqlalchemy.exc import NoSuchTableError, SAWarning

from gateway.core.stream import Transient


class NoTable(Transient):
    """It is not there, or not for this user."""


class Kind(Enum):
    """What values of a column are in Python."""

    BOOLEAN = "bool"
    INTEGER = "int"
    FLOAT = "float"
    DECIMAL = "Decimal"
    TEXT = "str"
    BYTES = "bytes"
    DATE = "date"
    TIME = "time"
    DATETIME = "datetime without a zone, meant as UTC"
    INSTANT = "datetime with a zone"
    UUID = "UUID"
    JSON = "JSON text"
    OTHER = "the driver's own"


@dataclass(frozen=True, slots=True)
class Column:
    """`type` is the SQL type, without a length, as it stands in a cast. `collation` is MariaDB's, for text."""

    name: str
    kind: Kind
    type: str
    nullable: bool
    collation: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """A table. `first_indexed` are the columns that an index begins with."""

    name: str
    schema: str
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    first_indexed: frozenset[str]

    def column(self, name: str, field: str) -> Column:
        """`field` is the setting that named it. Raises Transient, because a column may come back."""
        found = self.columns.get(name)
        if found is None:
            raise Transient(f"{field}: table '{self.name}' has no column '{name}'{_hint(name, self.columns)}")
        return found

    def require(self, name: str, field: str, kinds: Iterable[Kind]) -> Column:
        found = self.column(name, field)
        if found.kind not in kinds:
            wanted = " or ".join(kind.value for kind in kinds)
            raise Transient(f"{field}: column '{name}' of '{self.name}' is {found.type}; expected {wanted}")
        return found


def reflect(connection: Engine, name: str, schema: str, field: str) -> Layout:
    """`field` is the setting that named the table. Raises NoTable."""
    inspector = inspect(connection)
    where = schema or None
    try:
        # Of a type that SQLAlchemy does not know (an extension's) it warns. The driver may know it.
        with warnings.catch_warnings(action="ignore", category=SAWarning):
            found = inspector.get_columns(name, schema=where)
        key = inspector.get_pk_constraint(name, schema=where)["constrained_columns"]
        indexes = inspector.get_indexes(name, schema=where)
    except NoSuchTableError:
        known = [*inspector.get_table_names(schema=where), *inspector.get_view_names(schema=where)]
        place = f"schema '{schema}'" if schema else "the database"
        raise NoTable(f"{field}: {place} has no table '{name}'{_hint(name, known)}") from None
    compiler = connection.dialect.type_compiler_instance
    columns = {}
    for each in found:
        type_ = each["type"]
        columns[each["name"]] = Column(
            each["name"],
            kind(type_),
            "" if isinstance(type_, types.NullType) else compiler.process(_bare(type_)),
            bool(each["nullable"]),
        )
    first = {index["column_names"][0] for index in indexes if index["column_names"]} | set(key[:1])
    return Layout(name, schema, columns, tuple(key), frozenset(column for column in first if column))


def kind(type_: types.TypeEngine[Any]) -> Kind:
    for classes, found in _KINDS:
        if isinstance(type_, classes):
            return found
    if isinstance(type_, types.DateTime):
        return Kind.INSTANT if type_.timezone else Kind.DATETIME
    if isinstance(type_, types.Integer):
        # MariaDB's BOOLEAN is another name for this.
        one = isinstance(type_, mysql.TINYINT) and type_.display_width == 1
        return Kind.BOOLEAN if one else Kind.INTEGER
    return Kind.OTHER


# The first match wins: a Float is a Numeric too, and a UUID or an Enum may be a String.
_KINDS: tuple[tuple[tuple[type[types.TypeEngine[Any]], ...], Kind], ...] = (
    ((types.Boolean,), Kind.BOOLEAN),
    ((types.Float,), Kind.FLOAT),
    ((types.Numeric,), Kind.DECIMAL),
    ((types.Date,), Kind.DATE),
    ((types.Time,), Kind.TIME),
    ((types.LargeBinary, types.BINARY, types.VARBINARY), Kind.BYTES),
    ((types.Uuid,), Kind.UUID),
    ((types.JSON,), Kind.JSON),
    ((types.String,), Kind.TEXT),
)


def _bare(type_: types.TypeEngine[Any]) -> types.TypeEngine[Any]:
    """Without length or precision: an array of such values is cut or rounded by the column, not on its way there."""
    if isinstance(type_, types.String) and not isinstance(type_, types.Enum):
        return types.Text()
    if isinstance(type_, types.Numeric) and not isinstance(type_, types.Float):
        return types.Numeric()
    return type_


def _hint(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = get_close_matches(name, names, 1)
    return f", did you mean '{near[0]}'?" if near else f"; it has {', '.join(names[:20]) or 'none'}"
