"""Rows that are locked until their results are written."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.sql.connection import Connection, Row
from adapters.sql.pool import Pool
from adapters.sql.records import Records
from adapters.sql.schema import Kind
from adapters.sql.settings import InputSettings
from adapters.sql.taken import Place, Taken
from adapters.sql.waiting import order, select, waiting
from gateway.core.stream import Batch

#: of so many claims one looks at all rows that wait
FROM_THE_START = 8


class Claim:
    """Locked rows of a transaction that stays open. `ordered`: one after the other, past nobody's lock.

    While the batch that was claimed last is under way, the next claim begins behind its key: the rows before that are
    locked by us, or done, and to find that out again of each costs the server half as much as to claim one. What waits
    before it all the same (given back, added late) is seen by the next claim that begins at the start.
    """

    def __init__(self, settings: InputSettings, place: Place, records: Records, pool: Pool, *, ordered: bool) -> None:
        self._place, self._records, self._pool = place, records, pool
        self.waiting = waiting(settings, place.dialect, records.layout)
        # NOWAIT would be an error where a standby looks at rows that are being worked on.
        self._lock = "FOR UPDATE" if ordered else "FOR UPDATE SKIP LOCKED"
        self._order = order(settings, place.dialect, records)
        key = records.ids[0] if len(records.ids) == 1 else ""
        alone = not ordered and settings.order_by in ((), records.ids) and bool(key) and place.dialect.ranges
        #: the key that claims go by, where it is one number; else each begins at the start
        self._key = key if alone and records.layout.columns[key].kind is Kind.INTEGER else ""
        self._last: Taken | None = None
        self._claims = 0

    async def take(self, rows: int) -> tuple[Batch, Taken] | None:
        connection = await self._pool.take()
        kept = False
        try:
            await connection.begin()
            found = await self._locked(connection, rows)
            if not found:
                await connection.rollback()
                self._pool.give(connection)
                kept = True
                return None
            columns = self._records.columns(found)
            batch = self._records.batch(columns)
            taken = Taken(self._place, self._pool, batch.ids, self._records.keys(columns), connection=connection)
            self._last = taken
            kept = True
            return batch, taken
        finally:
            if not kept:
                self._pool.give(connection, clean=False)

    async def _locked(self, connection: Connection, rows: int) -> Sequence[Row]:
        self._claims += 1
        last, dialect = self._last, self._place.dialect
        if self._key and last is not None and last.connection is not None and self._claims % FROM_THE_START:
            behind = f"{self.waiting} AND {dialect.quote(self._key)} > {dialect.mark(1)}"
            sql = select(dialect, self._records, behind, self._order, 2)
            found = await connection.fetch(f"{sql} {self._lock}", (last.match[self._key][-1], rows))
            if found:
                return found
        sql = select(dialect, self._records, self.waiting, self._order)
        return await connection.fetch(f"{sql} {self._lock}", (rows,))
