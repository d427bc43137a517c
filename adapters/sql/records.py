"""Rows of a table as a batch: which columns are read, and what a record is called."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote, unquote

from adapters.sql.connection import Row
from adapters.sql.dialect import Dialect
from adapters.sql.schema import Kind, Layout
from adapters.sql.settings import InputSettings
from gateway.core.stream import Batch, Transient
from gateway.core.table import Table

WIDE = frozenset({Kind.TEXT, Kind.BYTES, Kind.JSON, Kind.OTHER})
KEYS = frozenset(Kind) - {Kind.OTHER, Kind.JSON}


class Records:
    """Knows the columns by their place in a row. Raises Transient where the table is not as the settings say."""

    def __init__(self, settings: InputSettings, layout: Layout, dialect: Dialect, extra: Sequence[str] = ()) -> None:
        """`extra`: columns that are read besides, of no record."""
        self.layout = layout
        self.ids = settings.id or layout.key
        if not self.ids:
            raise Transient(f"id: table '{layout.name}' has no primary key; name the columns that are unique in it")
        for name in self.ids:
            layout.require(name, "id", KEYS)
        hidden = _hidden(settings)
        self.fields = settings.columns or tuple(name for name in layout.columns if name not in hidden)
        for name in self.fields:
            layout.column(name, "columns")
        self.version, self.key, self.timestamp = settings.version, settings.key, settings.timestamp
        for field in ("version", "key"):
            if name := getattr(settings, field):
                layout.column(name, field)
        if self.timestamp:
            layout.require(self.timestamp, "timestamp", (Kind.INSTANT, Kind.DATETIME, Kind.TEXT))
        wanted = (*self.fields, *self.ids, self.version, self.key, self.timestamp, *extra)
        self.selected = tuple(dict.fromkeys(name for name in wanted if name))
        self._at = {name: at for at, name in enumerate(self.selected)}
        self._readers = [(at, dialect.reader(layout.columns[name])) for at, name in enumerate(self.selected)]
        self._readers = [(at, reader) for at, reader in self._readers if reader is not None]
        named = {*self.ids, self.version, self.key, self.timestamp, *extra}
        self._floats = [
            at for at, name in enumerate(self.selected) if layout.columns[name].kind is Kind.FLOAT and name not in named
        ]
        #: whether a row may be large
        self.wide = any(layout.columns[name].kind in WIDE for name in self.fields)
        self._texts = [layout.columns[name].kind in (Kind.TEXT, Kind.BYTES) for name in self.ids]

    def columns(self, rows: Sequence[Row]) -> list[Sequence[Any]]:
        """Of the selected columns, as their kinds say; what cannot be read so is left as it is."""
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for at, reader in self._readers:
            if reader is not None:
                columns[at] = [value if value is None else _read(reader, value) for value in columns[at]]
        for at in self._floats:
            columns[at] = _doubles(columns[at])
        return columns

    def keys(self, columns: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
        return {name: columns[self._at[name]] for name in self.ids}

    def column(self, name: str, columns: Sequence[Sequence[Any]]) -> Sequence[Any]:
        return columns[self._at[name]]

    def batch(self, columns: Sequence[Sequence[Any]]) -> Batch:
        return Batch(
            self._names(columns),
            Table(self.fields, [columns[self._at[name]] for name in self.fields]),
            [_bytes(value) for value in columns[self._at[self.key]]] if self.key else (),
            timestamps=[_milliseconds(value) for value in columns[self._at[self.timestamp]]] if self.timestamp else (),
        )

    def _names(self, columns: Sequence[Sequence[Any]]) -> list[str]:
        """The records' ids: the primary key's values with / between them, and @ with the version."""
        parts = [
            [_quoted(value) for value in columns[self._at[name]]] if text else [str(v) for v in columns[self._at[name]]]
            for name, text in zip(self.ids, self._texts, strict=True)
        ]
        names = parts[0] if len(parts) == 1 else ["/".join(each) for each in zip(*parts, strict=True)]
        if not self.version:
            return names
        versions = columns[self._at[self.version]]
        return [f"{name}@{version}" for name, version in zip(names, versions, strict=True)]

    def parse(self, id: str) -> list[str | bytes]:
        """The primary key's values of a record's id, as text. Raises ValueError."""
        name = id.rpartition("@")[0] if self.version and "@" in id else id
        parts = name.split("/")
        if len(parts) != len(self.ids):
            raise ValueError(f"'{id}' has {len(parts)} parts; expected {len(self.ids)}: {', '.join(self.ids)}")
        kinds = [self.layout.columns[name].kind for name in self.ids]
        return [
            bytes.fromhex(part) if kind is Kind.BYTES else unquote(part) if text else part
            for part, text, kind in zip(parts, self._texts, kinds, strict=True)
        ]


def _hidden(settings: InputSettings) -> frozenset[str]:
    """What a row is managed by is no field of the record, unless it is asked for."""
    names = {settings.status.column, settings.status.reason}
    if settings.mode == "lease":
        names |= {settings.lease.until, settings.lease.token}
    if settings.mode == "cursor":
        names |= {settings.transaction}
    return frozenset(names)


def _doubles(values: Sequence[Any]) -> Sequence[Any]:
    """The same without an object for each, which a batch would hold until it is acknowledged; with a NULL, as it is."""
    try:
        return array("d", values)
    except (TypeError, OverflowError):
        return values


def _read(reader: Callable[[Any], Any], value: Any) -> Any:
    try:
        return reader(value)
    except (TypeError, ValueError, KeyError, ArithmeticError):
        return value


def _quoted(value: Any) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    return quote(str(value), safe=" ,;:!$&'()*+=~") if not str(value).isalnum() else str(value)


def _bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return value.isoformat().encode() if isinstance(value, date) else str(value).encode()


def _milliseconds(value: Any) -> int:
    """0 where it is no time."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return 0
    if not isinstance(value, datetime):
        return 0
    return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
