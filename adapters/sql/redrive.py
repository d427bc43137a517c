"""Puts dead letters back: a row of a table waits again; one that an outbox has deleted is added again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adapters.sql.address import Address
from adapters.sql.dialect import Change, Dialect, dialect
from adapters.sql.pool import Pool
from adapters.sql.records import Records
from adapters.sql.schema import Kind, Layout
from adapters.sql.settings import InputSettings
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Ability, Context, DataError, DeadLetter, Rows, Sink, Transient


class SqlRedrive:
    """An output of the input's settings: of a record it needs the id, and of a deleted one the fields."""

    def __init__(self, settings: InputSettings, context: Context) -> None:
        if settings.mode == "cursor":
            raise InvalidArgument("mode: a table that is read by cursor is only added to; add the rows there again")
        self._settings = settings
        self._pipeline = context.pipeline
        self._address = Address.of(settings.url, settings.password_file)
        self._dialect: Dialect = dialect(self._address.system)
        self._pool: Pool | None = None
        self._records: Records | None = None
        self._marked: Layout | None = None

    @property
    def sink(self) -> Sink:
        return Sink(
            f"sql table {self._settings.table}", frozenset({Ability.IDEMPOTENT, Ability.PLAIN}), self._address.domain
        )

    async def connect(self) -> None:
        await self.close()
        settings, dialect = self._settings, self._dialect
        purpose = f"sluice redrive {self._pipeline}"
        self._pool = Pool(lambda: dialect.open(self._address, settings.limits, purpose), 1)
        layout = await dialect.reflect(self._pool.open, settings.table, settings.schema, "table")
        self._records, self._marked = Records(settings, layout, dialect), layout
        if settings.mode == "anti-join":
            self._marked = await dialect.reflect(self._pool.open, *settings.results_table(), "results")
        if not settings.delete:
            self._marked.column(settings.status.column, "status.column")
            if settings.status.reason:
                self._marked.column(settings.status.reason, "status.reason")
            for name in (*self._records.ids, settings.version):
                if name:
                    self._marked.column(name, "id")
        if settings.mode in ("lease", "anti-join"):
            self._marked.column(settings.lease.until, "lease.until")
            self._marked.column(settings.lease.token, "lease.token")

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        """Raises DataError for a record whose row is not there."""
        if self._pool is None or self._records is None or self._marked is None:
            raise Transient("it is not connected")
        settings, records, marked = self._settings, self._records, self._marked
        async with self._pool.transaction() as connection:
            for row, name in enumerate(rows.batch.ids):
                if settings.delete:
                    await self._dialect.insert(connection, records.layout, _fields(rows, row, records.layout))
                    continue
                try:
                    parts = zip(records.ids, records.parse(name), strict=True)
                    match = {column: [_typed(records.layout, column, value)] for column, value in parts}
                except ValueError as error:
                    raise DataError(str(error), row) from error
                same: dict[str, Any] = {settings.status.column: settings.status.new}
                if settings.status.reason:
                    same[settings.status.reason] = None
                if settings.mode in ("lease", "anti-join"):
                    same |= {settings.lease.until: None, settings.lease.token: None}
                if not await self._dialect.update(connection, Change(marked, match, same=same)):
                    raise DataError(f"table '{marked.name}' has no row '{name}' any more", row)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None


def _typed(layout: Layout, name: str, value: str | bytes) -> Any:
    """A primary key's value of its text. Raises ValueError."""
    kind = layout.columns[name].kind
    if isinstance(value, bytes):
        return value
    if kind in (Kind.INTEGER, Kind.BOOLEAN):
        return value == "True" if kind is Kind.BOOLEAN else int(value)
    return float(value) if kind is Kind.FLOAT else value


def _fields(rows: Rows, row: int, layout: Layout) -> dict[str, Sequence[Any]]:
    """Of the record's JSON, the columns that the table has; bytes are written there as hex."""
    try:
        record = json.loads(rows.batch.values[row] or b"")
        if not isinstance(record, dict):
            raise TypeError("it is no object")
        return {
            name: [bytes.fromhex(value) if layout.columns[name].kind is Kind.BYTES and value is not None else value]
            for name, value in record.items()
            if name in layout.columns
        }
    except (TypeError, ValueError) as error:
        raise DataError(f"the record cannot be a row of '{layout.name}': {error}", row) from error
