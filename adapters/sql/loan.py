"""Rows that are lent for a time."""

from __future__ import annotations

from adapters.sql.dialect import Change
from adapters.sql.pool import Pool
from adapters.sql.records import Records
from adapters.sql.settings import InputSettings
from adapters.sql.taken import Place, Taken
from adapters.sql.waiting import free, lend, order, select, waiting
from gateway.core.stream import Batch


class Loan:
    """Rows that are lent for a time: a token of this batch alone is written into them. No transaction stays open."""

    def __init__(self, settings: InputSettings, place: Place, records: Records, pool: Pool) -> None:
        self._place, self._records, self._pool = place, records, pool
        self._until, self._seconds = settings.lease.until, settings.lease.seconds
        lease, dialect = settings.lease, place.dialect
        self.waiting = waiting(settings, dialect, records.layout) + f" AND {free(dialect, lease.until)}"
        self._order = order(settings, dialect, records)

    async def take(self, rows: int) -> tuple[Batch, Taken] | None:
        dialect, place = self._place.dialect, self._place
        sql = select(dialect, self._records, self.waiting, self._order)
        async with self._pool.transaction() as connection:
            found = await connection.fetch(sql + (" FOR UPDATE SKIP LOCKED" if dialect.skips_locked else ""), (rows,))
            if not found:
                return None
            columns = self._records.columns(found)
            keys = self._records.keys(columns)
            fence = lend(place)
            until = {self._until: dialect.later(self._seconds)}
            await dialect.update(connection, Change(place.layout, keys, same=dict([fence]), expressions=until))
        batch = self._records.batch(columns)
        return batch, Taken(place, self._pool, batch.ids, keys, fence)
