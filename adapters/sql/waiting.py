"""The SQL of rows that wait: which they are, in what order, and by what a row is lent."""

from __future__ import annotations

import secrets
from typing import Any

from adapters.sql.dialect import Dialect
from adapters.sql.records import Records
from adapters.sql.schema import Kind, Layout
from adapters.sql.settings import InputSettings, Marker
from adapters.sql.taken import Place
from gateway.core.stream import Transient


def select(dialect: Dialect, records: Records, waiting: str, order: str, last: int = 1) -> str:
    """Its last value, of that number, is how many rows."""
    prefix = "s." if waiting.startswith("FROM") and " s WHERE" in waiting else ""
    return f"SELECT {dialect.names(records.selected, prefix)} {waiting} ORDER BY {order} LIMIT {dialect.mark(last)}"


def order(settings: InputSettings, dialect: Dialect, records: Records) -> str:
    names = settings.order_by or records.ids
    for name in names:
        records.layout.column(name, "order_by")
    return dialect.names(names)


def waiting(settings: InputSettings, dialect: Dialect, layout: Layout) -> str:
    conditions = []
    if settings.mode != "outbox" or not settings.delete:
        conditions.append(marked(dialect, layout, settings.status.column, settings.status.new))
    if settings.where:
        conditions.append(f"({dialect.text(settings.where)})")
    return f"FROM {dialect.table(layout.name, layout.schema)} WHERE {' AND '.join(conditions) or '1 = 1'}"


def marked(dialect: Dialect, layout: Layout, column: str, marker: Marker, prefix: str = "") -> str:
    """A literal, not a value: a planner that knows it can use a partial index."""
    name = prefix + dialect.quote(column)
    if marker is None:
        return f"{name} IS NULL"
    return f"{name} = {literal(dialect, layout, column, marker)}"


def literal(dialect: Dialect, layout: Layout, column: str, marker: Marker) -> str:
    """Raises Transient where the column cannot hold it."""
    kind = layout.column(column, "status.column").kind
    if kind is Kind.BOOLEAN and isinstance(marker, (bool, int)):
        return str(bool(marker)).upper()
    if kind in (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT) and isinstance(marker, int):
        return str(int(marker))
    if isinstance(marker, str) and kind in (Kind.TEXT, Kind.OTHER):
        text = marker.replace("'", "''")
        if "\\" in text or "\0" in text:
            raise Transient(f"status: {marker!r} has a character that cannot be looked for")
        return dialect.text(f"'{text}'")
    raise Transient(f"status: column '{column}' of '{layout.name}' is {layout.columns[column].type}, not {marker!r}")


def free(dialect: Dialect, until: str, prefix: str = "") -> str:
    name = prefix + dialect.quote(until)
    return f"({name} IS NULL OR {name} < {dialect.now})"


def lend(place: Place) -> tuple[str, Any]:
    """The column of the token, and one that nobody else has."""
    if place.lease is None:
        raise Transient("lease: it has no columns")
    name = place.lease.token
    kind = place.layout.column(name, "lease.token").kind
    return name, secrets.randbits(63) if kind is Kind.INTEGER else secrets.token_hex(16)
