"""How rows become an input's own. Each way is asked for at most so many rows, and gives none where none wait."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Protocol

from adapters.sql.connection import Connection, Row
from adapters.sql.cursor import At
from adapters.sql.dialect import Change, Dialect
from adapters.sql.pool import Pool
from adapters.sql.records import Records
from adapters.sql.schema import Kind, Layout
from adapters.sql.settings import InputSettings, Marker
from adapters.sql.taken import Place, Taken
from gateway.core.stream import Batch, Transient

Found = tuple[Batch, Taken]


class Taking(Protocol):
    async def take(self, rows: int) -> tuple[Batch, Taken | At] | None:
        """Raises Transient; cancelling it takes nothing."""
        ...

    @property
    def waiting(self) -> str:
        """FROM and WHERE of the rows that wait."""
        ...


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
        self.waiting = _waiting(settings, place.dialect, records.layout)
        # NOWAIT would be an error where a standby looks at rows that are being worked on.
        self._lock = "FOR UPDATE" if ordered else "FOR UPDATE SKIP LOCKED"
        self._order = _order(settings, place.dialect, records)
        key = records.ids[0] if len(records.ids) == 1 else ""
        alone = not ordered and settings.order_by in ((), records.ids) and bool(key) and place.dialect.ranges
        #: the key that claims go by, where it is one number; else each begins at the start
        self._key = key if alone and records.layout.columns[key].kind is Kind.INTEGER else ""
        self._last: Taken | None = None
        self._claims = 0

    async def take(self, rows: int) -> Found | None:
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
            select = _select(dialect, self._records, behind, self._order, 2)
            found = await connection.fetch(f"{select} {self._lock}", (last.match[self._key][-1], rows))
            if found:
                return found
        select = _select(dialect, self._records, self.waiting, self._order)
        return await connection.fetch(f"{select} {self._lock}", (rows,))


class Loan:
    """Rows that are lent for a time: a token of this batch alone is written into them. No transaction stays open."""

    def __init__(self, settings: InputSettings, place: Place, records: Records, pool: Pool) -> None:
        self._place, self._records, self._pool = place, records, pool
        self._until, self._seconds = settings.lease.until, settings.lease.seconds
        lease, dialect = settings.lease, place.dialect
        self.waiting = _waiting(settings, dialect, records.layout) + f" AND {_free(dialect, lease.until)}"
        self._order = _order(settings, dialect, records)

    async def take(self, rows: int) -> Found | None:
        dialect, place = self._place.dialect, self._place
        select = _select(dialect, self._records, self.waiting, self._order)
        async with self._pool.transaction() as connection:
            found = await connection.fetch(
                select + (" FOR UPDATE SKIP LOCKED" if dialect.skips_locked else ""), (rows,)
            )
            if not found:
                return None
            columns = self._records.columns(found)
            keys = self._records.keys(columns)
            fence = _lend(place)
            until = {self._until: dialect.later(self._seconds)}
            await dialect.update(connection, Change(place.layout, keys, same=dict([fence]), expressions=until))
        batch = self._records.batch(columns)
        return batch, Taken(place, self._pool, batch.ids, keys, fence)


class AntiJoin:
    """Rows that have no result, or one that waits again. The lease is kept in the table of results."""

    def __init__(self, settings: InputSettings, place: Place, records: Records, pool: Pool) -> None:
        self._place, self._records, self._pool = place, records, pool
        self._until, self._seconds = settings.lease.until, settings.lease.seconds
        self._match = (*records.ids, *((settings.version,) if settings.version else ()))
        dialect, results = place.dialect, place.layout
        joined = " AND ".join(f"r.{dialect.quote(name)} = s.{dialect.quote(name)}" for name in self._match)
        free = _free(dialect, settings.lease.until, "r.")
        new = _is(dialect, results, settings.status.column, settings.status.new, "r.")
        where = f" AND ({dialect.text(settings.where)})" if settings.where else ""
        source = dialect.table(records.layout.name, records.layout.schema)
        self.waiting = (
            f"FROM {source} s WHERE NOT EXISTS (SELECT 1 FROM {dialect.table(results.name, results.schema)} r "
            f"WHERE {joined} AND ({new} AND {free}) IS NOT TRUE){where}"
        )
        self._order = _order(settings, dialect, records)
        self._name = f"sluice {place.domain} {results.schema}.{results.name}"

    async def take(self, rows: int) -> Found | None:
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
        found = await connection.fetch(_select(dialect, self._records, self.waiting, self._order), (rows,))
        if not found:
            return None
        columns = self._records.columns(found)
        match = {name: self._records.column(name, columns) for name in self._match}
        fence = _lend(place)
        same = {fence[0]: fence[1], status.column: status.new}
        inserted = match | {name: [value] * len(found) for name, value in same.items()}
        await dialect.upsert(connection, place.layout, self._match, inserted)
        until = {self._until: dialect.later(self._seconds)}
        await dialect.update(connection, Change(place.layout, match, expressions=until))
        return columns, match, fence


class Look:
    """Rows that nobody else is expected to want, in order, without a lock: who settles them first has them.

    For SQLite, where a transaction that waits for a model would keep every other writer out.
    """

    def __init__(self, settings: InputSettings, place: Place, records: Records, pool: Pool) -> None:
        self._place, self._records, self._pool = place, records, pool
        self.waiting = _waiting(settings, place.dialect, records.layout)
        self._order = _order(settings, place.dialect, records)

    async def take(self, rows: int) -> Found | None:
        status = self._place.status
        select = _select(self._place.dialect, self._records, self.waiting, self._order)
        async with self._pool.connection() as connection:
            found = await connection.fetch(select, (rows,))
        if not found:
            return None
        columns = self._records.columns(found)
        batch = self._records.batch(columns)
        # A row that is deleted when done is fenced by being there.
        fence = None if self._place.delete else (status.column, status.new)
        return batch, Taken(self._place, self._pool, batch.ids, self._records.keys(columns), fence)


def _select(dialect: Dialect, records: Records, waiting: str, order: str, last: int = 1) -> str:
    """Its last value, of that number, is how many rows."""
    prefix = "s." if waiting.startswith("FROM") and " s WHERE" in waiting else ""
    return f"SELECT {dialect.names(records.selected, prefix)} {waiting} ORDER BY {order} LIMIT {dialect.mark(last)}"


def _order(settings: InputSettings, dialect: Dialect, records: Records) -> str:
    names = settings.order_by or records.ids
    for name in names:
        records.layout.column(name, "order_by")
    return dialect.names(names)


def _waiting(settings: InputSettings, dialect: Dialect, layout: Layout) -> str:
    conditions = []
    if settings.mode != "outbox" or not settings.delete:
        conditions.append(_is(dialect, layout, settings.status.column, settings.status.new))
    if settings.where:
        conditions.append(f"({dialect.text(settings.where)})")
    return f"FROM {dialect.table(layout.name, layout.schema)} WHERE {' AND '.join(conditions) or '1 = 1'}"


def _is(dialect: Dialect, layout: Layout, column: str, marker: Marker, prefix: str = "") -> str:
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


def _free(dialect: Dialect, until: str, prefix: str = "") -> str:
    name = prefix + dialect.quote(until)
    return f"({name} IS NULL OR {name} < {dialect.now})"


def _lend(place: Place) -> tuple[str, Any]:
    """The column of the token, and one that nobody else has."""
    if place.lease is None:
        raise Transient("lease: it has no columns")
    name = place.lease.token
    kind = place.layout.column(name, "lease.token").kind
    return name, secrets.randbits(63) if kind is Kind.INTEGER else secrets.token_hex(16)
