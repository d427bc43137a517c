"""A table of PostgreSQL that rows are only added to, read in the order of the transactions that added them.

By a serial number or a time, rows would be lost whose transaction commits after that of a later row. So only rows are
read whose transaction is below every one that still runs: nothing can appear among them any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapters.sql.dialect import Dialect
from adapters.sql.pool import Pool
from adapters.sql.records import Records
from adapters.sql.schema import Kind
from adapters.sql.settings import InputSettings
from gateway.core.stream import Batch, Context, Transient


@dataclass(frozen=True, slots=True)
class At:
    """`position`: the transaction's id and the primary key's values of the last row, as text."""

    epoch: int
    position: list[str]


class Cursor:
    """One lane, whose position another table keeps."""

    def __init__(self, settings: InputSettings, records: Records, dialect: Dialect, pool: Pool) -> None:
        self._records, self._dialect, self._pool = records, dialect, pool
        self._transaction = settings.transaction
        layout = records.layout
        if not layout.column(settings.transaction, "transaction").type.upper().startswith("XID8"):
            found = layout.columns[settings.transaction].type or "another type"
            raise Transient(f"transaction: column '{settings.transaction}' is {found}; expected xid8")
        for name in records.ids:
            layout.require(name, "id", (Kind.INTEGER, Kind.TEXT, Kind.UUID, Kind.DECIMAL))
        self._epoch = 0
        self._position: list[str] | None = None
        self.where = f" AND ({dialect.text(settings.where)})" if settings.where else ""

    @staticmethod
    async def take_over(
        settings: InputSettings, records: Records, dialect: Dialect, pool: Pool, context: Context
    ) -> Cursor:
        if context.positions is None:
            raise Transient("mode: cursor needs an output that stores its position: sql with `positions`")
        cursor = Cursor(settings, records, dialect, pool)
        cursor._epoch, cursor._position = await context.positions.take_over(settings.table)
        return cursor

    @property
    def waiting(self) -> str:
        dialect, layout = self._dialect, self._records.layout
        xid = dialect.quote(self._transaction)
        after = ""
        if self._position is not None:
            names = dialect.names((self._transaction, *self._records.ids))
            types = ["xid8", *(layout.columns[name].type for name in self._records.ids)]
            values = [_quoted(value) + f"::{kind}" for value, kind in zip(self._position, types, strict=True)]
            after = f" AND ({names}) > ({', '.join(values)})"
        return (
            f"FROM {dialect.table(layout.name, layout.schema)} "
            f"WHERE {xid} < pg_snapshot_xmin(pg_current_snapshot()){after}{self.where}"
        )

    async def take(self, rows: int) -> tuple[Batch, At] | None:
        records, dialect = self._records, self._dialect
        order = dialect.names((self._transaction, *records.ids))
        async with self._pool.connection() as connection:
            found = await connection.fetch(
                f"SELECT {dialect.names(records.selected)} {self.waiting} ORDER BY {order} LIMIT $1",
                (rows,),
            )
        if not found:
            return None
        columns = records.columns(found)
        names: list[Any] = [self._transaction, *records.ids]
        self._position = [str(records.column(name, columns)[-1]) for name in names]
        return records.batch(columns), At(self._epoch, self._position)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
