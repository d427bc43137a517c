"""What a table looks like, as the database tells it when a pipeline connects."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
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


class Columns(dict[str, Column]):
    """Of a table, by name. Of one that is not there it raises Transient, because it may come back."""

    def __init__(self, table: str, columns: Mapping[str, Column]) -> None:
        super().__init__(columns)
        self._table = table

    def __missing__(self, name: str) -> Column:
        raise Transient(f"table '{self._table}' has no column '{name}'{_hint(name, self)}")


@dataclass(frozen=True, slots=True)
class Layout:
    """A table. `first_indexed` are the columns that an index begins with.

    unique  what no two rows agree in: the primary key, and others; None where nobody knows, as of a view
    """

    name: str
    schema: str
    columns: Columns
    key: tuple[str, ...]
    first_indexed: frozenset[str]
    unique: tuple[frozenset[str], ...] | None = None

    def column(self, name: str, field: str) -> Column:
        """`field` is the setting that named it. Raises Transient, because a column may come back."""
        try:
            return self.columns[name]
        except Transient as error:
            raise Transient(f"{field}: {error.message}") from None

    def require(self, name: str, field: str, kinds: Iterable[Kind]) -> Column:
        found = self.column(name, field)
        if found.kind not in kinds:
            wanted = " or ".join(kind.value for kind in kinds)
            raise Transient(f"{field}: column '{name}' of '{self.name}' is {found.type}; expected {wanted}")
        return found

    def require_unique(self, names: Sequence[str], field: str) -> None:
        """A row is told by these columns: where no key of the table says so, repeats would be rows of their own.

        Raises Transient.
        """
        if self.unique is None or frozenset(names) in self.unique:
            return
        keys = "; ".join(", ".join(sorted(key)) for key in self.unique) or "none"
        raise Transient(
            f"{field}: table '{self.name}' has no primary key or unique index of ({', '.join(names)}), "
            f"so that a repeat could not replace its row; found: {keys}"
        )


def reflect(connection: Engine, name: str, schema: str, field: str) -> Layout:
    """`field` is the setting that named the table. Raises NoTable."""
    inspector = inspect(connection)
    where = schema or None
    try:
        # Of a type that SQLAlchemy does not know (an extension's) it warns. The driver may know it.
        with warnings.catch_warnings(action="ignore", category=SAWarning):
            found = inspector.get_columns(name, schema=where)
        key = inspector.get_pk_constraint(name, schema=where)["constrained_columns"]
        # SQLite keeps what is UNIQUE by such an index, however the table's SQL says it
        auto = {"include_auto_indexes": True} if connection.dialect.name == "sqlite" else {}
        indexes = inspector.get_indexes(name, schema=where, **auto)
    except NoSuchTableError:
        known = [*inspector.get_table_names(schema=where), *inspector.get_view_names(schema=where)]
        place = f"schema '{schema}'" if schema else "the database"
        raise NoTable(f"{field}: {place} has no table '{name}'{_hint(name, known)}") from None
    compiler = connection.dialect.type_compiler_instance
    columns: dict[str, Column] = {}
    for each in found:
        type_ = each["type"]
        columns[each["name"]] = Column(
            each["name"],
            kind(type_),
            "" if isinstance(type_, types.NullType) else compiler.process(_bare(type_)),
            bool(each["nullable"]),
        )
    first = {index["column_names"][0] for index in indexes if index["column_names"]} | set(key[:1])
    unique = [frozenset(key)] if key else []
    unique += [
        frozenset(column for column in index["column_names"] if column)
        for index in indexes
        # one of an expression, or of some rows only, says nothing of the others
        if index["unique"] and all(index["column_names"]) and not _is_partial(index)
    ]
    unique += [frozenset(each["column_names"]) for each in inspector.get_unique_constraints(name, schema=where)]
    is_known = bool(unique) or name not in inspector.get_view_names(schema=where)
    return Layout(
        name, schema, Columns(name, columns), tuple(key), frozenset(column for column in first if column),
        tuple(dict.fromkeys(unique)) if is_known else None,
    )  # fmt: skip


def _is_partial(index: Any) -> bool:
    return any(name.endswith("_where") and what is not None for name, what in index.get("dialect_options", {}).items())


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
    (
        (types.LargeBinary, types.BINARY, types.VARBINARY, mysql.TINYBLOB, mysql.MEDIUMBLOB, mysql.LONGBLOB),
        Kind.BYTES,
    ),
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
