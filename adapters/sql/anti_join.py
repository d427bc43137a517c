"""Rows of a table that is only read: those that have no result yet in another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.sql.connection import Connection
from adapters.sql.dialect import Change
from adapters.sql.pool import Pool
from adapters.sql.records import Records
from adapters.sql.settings import InputSettings
from adapters.sql.taken import Place, Taken
from adapters.sql.waiting import free, lend, marked, order, select
from gateway.core.stream import Batch


class AntiJoin:
    """Rows that have no result, or one that waits again. The lease is kept in the table of results."""

    def __init__(self, settings: InputSettings, place: Place, records: Records, pool: Pool) -> None:
        self._place, self._records, self._pool = place, records, pool
        self._until, self._seconds = settings.lease.until, settings.lease.seconds
        self._match = (*records.ids, *((settings.version,) if settings.version else ()))
        dialect, results = place.dialect, place.layout
        joined = " AND ".join(f"r.{dialect.quote(name)} = s.{dialect.quote(name)}" for name in self._match)
        unlent = free(dialect, settings.lease.until, "r.")
        new = marked(dialect, results, settings.status.column, settings.status.new, "r.")
        where = f" AND ({dialect.text(settings.where)})" if settings.where else ""
        source = dialect.table(records.layout.name, records.layout.schema)
        self.waiting = (
            f"FROM {source} s WHERE NOT EXISTS (SELECT 1 FROM {dialect.table(results.name, results.schema)} r "
            f"WHERE {joined} AND ({new} AND {unlent}) IS NOT TRUE){where}"
        )
        self._order = order(settings, dialect, records)
        self._name = f"sluice {place.domain} {results.schema}.{results.name}"

    async def take(self, rows: int) -> tuple[Batch, Taken] | None:
        place, dialect = self._place, self._place.dialect
        async with self._pool.connection() as held:
            await held.begin()
            # One at a time: two could see the same row without a result, and would wait for each other's.
            await dialect.exclusive(held, self._name)
            found = await self._claim(held, rows)
            await held.commit()
            await dialect.released(held, self._name)
        if found is None:
            return None
        columns, match, fence = found
        batch = self._records.batch(columns)
        return batch, Taken(place, self._pool, batch.ids, match, fence)

    async def _claim(self, connection: Connection, rows: int) -> tuple[Any, dict[str, Sequence[Any]], Any] | None:
        place, dialect, status = self._place, self._place.dialect, self._place.status
        found = await connection.fetch(select(dialect, self._records, self.waiting, self._order), (rows,))
        if not found:
            return None
        columns = self._records.columns(found)
        match = {name: self._records.column(name, columns) for name in self._match}
        fence = lend(place)
        same = {fence[0]: fence[1], status.column: status.new}
        inserted = match | {name: [value] * len(found) for name, value in same.items()}
        await dialect.upsert(connection, place.layout, self._match, inserted)
        until = {self._until: dialect.later(self._seconds)}
        await dialect.update(connection, Change(place.layout, match, expressions=until))
        return columns, match, fence
