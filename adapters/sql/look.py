"""Rows that are read without a lock."""

from __future__ import annotations

from adapters.sql.pool import Pool
from adapters.sql.records import Records
from adapters.sql.settings import InputSettings
from adapters.sql.taken import Place, Taken
from adapters.sql.waiting import order, select, waiting
from gateway.core.stream import Batch


class Look:
    """Rows that nobody else is expected to want, in order, without a lock: who settles them first has them.

    For SQLite, where a transaction that waits for a model would keep every other writer out.
    """

    def __init__(self, settings: InputSettings, place: Place, records: Records, pool: Pool) -> None:
        self._place, self._records, self._pool = place, records, pool
        self.waiting = waiting(settings, place.dialect, records.layout)
        self._order = order(settings, place.dialect, records)

    async def take(self, rows: int) -> tuple[Batch, Taken] | None:
        status = self._place.status
        sql = select(self._place.dialect, self._records, self.waiting, self._order)
        async with self._pool.connection() as connection:
            found = await connection.fetch(sql, (rows,))
        if not found:
            return None
        columns = self._records.columns(found)
        batch = self._records.batch(columns)
        # A row that is deleted when done is fenced by being there.
        fence = None if self._place.delete else (status.column, status.new)
        return batch, Taken(self._place, self._pool, batch.ids, self._records.keys(columns), fence)
