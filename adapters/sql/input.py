"""Rows of a table as a stream: taken batch by batch, each batch a lane of its own while it is under way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from functools import partial

from adapters.sql.address import Address
from adapters.sql.connection import Connection
from adapters.sql.cursor import Cursor
from adapters.sql.dialect import Dialect, dialect
from adapters.sql.pool import Pool
from adapters.sql.records import Records
from adapters.sql.schema import Kind, Layout
from adapters.sql.settings import InputSettings
from adapters.sql.taken import Place, Taken
from adapters.sql.taking import Taking, taking
from adapters.sql.waiting import literal
from gateway.core.errors import InvalidArgument, SluiceError
from gateway.core.stream import Batch, Context, Credit, Fenced, Lag, Source, Token, Transient
from gateway.core.table import Table

logger = logging.getLogger("sluice.sql")
FIRST_WIDTH = 1 << 20
#: of a lease, in its time: two may fail
RENEWALS = 3


class SqlInput:
    """A lane is one of `claims` places for a batch; what is read from a table in order has one alone."""

    def __init__(self, settings: InputSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._address = Address.of(settings.url, settings.password_file)
        self._dialect: Dialect = dialect(self._address.system)
        _check(settings, self._dialect)
        self._ordered = settings.mode in ("outbox", "cursor")
        self._lanes = 1 if self._ordered else settings.claims
        self._epoch = 0
        self._expected: tuple[str, ...] = ()
        self._pool: Pool | None = None
        self._taking: Taking | None = None
        self._layout: Layout | None = None
        self._listener: Connection | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._free: asyncio.Queue[str] = asyncio.Queue()
        self._under_way: dict[str, Taken] = {}
        self._news = asyncio.Event()
        #: bytes that a row is expected to take
        self._width = FIRST_WIDTH

    @property
    def source(self) -> Source:
        cursor = self._settings.mode == "cursor"
        return Source(
            f"sql table {self._settings.table}",
            domain="" if cursor else self._address.domain,
            stable_ids=True,
            positions=cursor,
            ordered=self._ordered or self._settings.claims == 1,
            shared=not self._ordered,
            depth=0 if cursor else self._lanes,
        )

    async def connect(self) -> None:
        await self.close()
        self._epoch += 1
        limits, purpose = self._settings.limits, f"sluice {self._context.pipeline}"
        self._pool = Pool(lambda: self._dialect.open(self._address, limits, purpose), self._lanes + 1)
        await self._look(self._pool)
        if self._settings.notify:
            self._listener = await self._dialect.open(self._address, limits, purpose)
            await self._dialect.listen(self._listener, self._settings.notify, self._news.set)
        if self._settings.mode in ("lease", "anti-join"):
            self._renewing = asyncio.create_task(self._renew(self._settings.lease.seconds / RENEWALS))
        self._free = asyncio.Queue()
        for number in range(self._lanes):
            table = self._settings.table
            self._free.put_nowait(table if self._lanes == 1 else f"{table}/{number}")

    async def _look(self, pool: Pool) -> None:
        """At the table, and whether it is as the settings say."""
        settings, dialect = self._settings, self._dialect
        layout = await dialect.reflect(pool.open, settings.table, settings.schema, "table")
        for name in self._expected:
            layout.column(name, "columns")
        extra = (settings.transaction,) if settings.mode == "cursor" else ()
        records = Records(settings, layout, dialect, extra)
        # Of texts and bytes nobody knows how long they are before some were read.
        self._width = FIRST_WIDTH if records.wide else 8 * len(records.fields)
        if settings.mode == "cursor":
            self._taking = await Cursor.take_over(settings, records, dialect, pool, self._context)
        else:
            self._taking = taking(settings, await self._place(pool, layout, records), records, pool)
        # Only of a table that is as it should be: a status column by another name is no field for good.
        self._expected, self._layout = records.fields, layout

    async def _place(self, pool: Pool, layout: Layout, records: Records) -> Place:
        settings, dialect = self._settings, self._dialect
        lease = settings.lease if settings.mode in ("lease", "anti-join") else None
        marked = layout
        if settings.mode == "anti-join":
            marked = await dialect.reflect(pool.open, *settings.results_table(), "results")
            for name in (*records.ids, settings.version):
                if name:
                    marked.column(name, "results")
        if lease is not None:
            marked.require(lease.until, "lease.until", (Kind.INSTANT, Kind.DATETIME, Kind.TEXT))
            marked.require(lease.token, "lease.token", (Kind.TEXT, Kind.INTEGER))
        delete = settings.mode == "outbox" and settings.delete
        if not delete:
            status = settings.status
            for marker in (status.new, status.done, status.failed):
                if marker is not None:
                    literal(dialect, marked, status.column, marker)
                else:
                    marked.column(status.column, "status.column")
            if status.reason:
                marked.require(status.reason, "status.reason", (Kind.TEXT,))
            if dialect.name == "mariadb" and status.column not in layout.first_indexed and marked is layout:
                logger.warning(
                    "table '%s' has no index that begins with '%s': every claim reads and locks all of its rows",
                    layout.name, status.column,
                )  # fmt: skip
        return Place(self._address.domain, dialect, marked, settings.status, lease, delete, settings.limits.idle)

    async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
        if self._taking is None or self._layout is None:
            raise Transient("it is not connected")
        lane = await self._free.get()
        rows = max(1, min(credit.rows, self._settings.rows, credit.nbytes // self._width))
        try:
            while True:
                self._news.clear()
                if self._listener is not None and not self._listener.alive:
                    raise Transient("notify: the connection that listens is gone")
                found = await self._taking.take(rows)
                if found is not None:
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.poll):
                        await self._news.wait()
        except BaseException:
            self._free.put_nowait(lane)
            raise
        batch, taken = found
        self._width = max(8 * len(self._expected), _width(batch))
        if isinstance(taken, Taken):
            self._under_way[lane] = taken
            taken.lost = partial(self._lost, lane, taken)
            return batch, Token(lane, self._epoch, taken)
        # A position orders what follows it: nothing has to be waited for.
        self._free.put_nowait(lane)
        return batch, Token(lane, taken.epoch, taken.position)

    def _lost(self, lane: str, taken: Taken) -> None:
        """A lane that lost its rows goes on under another epoch: the runner drops what is of the old one."""
        if self._under_way.get(lane) is taken:
            del self._under_way[lane]
            self._epoch += 1
            self._free.put_nowait(lane)

    async def ack(self, token: Token) -> None:
        taken = token.position
        if not isinstance(taken, Taken):
            return
        if self._under_way.get(token.lane) is not taken:
            raise Fenced(f"{taken}: it was given back when the connection was made anew")
        try:
            await taken.finish()
        except Fenced:
            await taken.drop()
            self._lost(token.lane, taken)
            raise
        # After any other error all is connected again.
        self._under_way.pop(token.lane, None)
        self._free.put_nowait(token.lane)

    async def _renew(self, every: float) -> None:
        """Lends anew what is under way, so that a lease need not be as long as the slowest batch."""
        while True:
            await asyncio.sleep(every)
            await asyncio.gather(*(_renewed(taken) for taken in list(self._under_way.values())))

    async def lag(self) -> Mapping[str, Lag]:
        """How many rows wait, and since when the first of them does, where `timestamp` says so."""
        pool, taking, layout = self._pool, self._taking, self._layout
        if pool is None or taking is None or layout is None:
            raise Transient("it is not connected")
        age = self._dialect.age(self._settings.timestamp, layout) if self._settings.timestamp else "NULL"
        async with pool.connection() as connection:
            rows = await connection.fetch(f"SELECT count(*), {age} {taking.waiting}")
        count, seconds = rows[0]
        return {self._settings.table: Lag(count, None if seconds is None else max(0.0, float(seconds)))}

    async def close(self) -> None:
        self._taking = None
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
            self._renewing = None
        under_way, self._under_way = self._under_way, {}
        for taken in under_way.values():
            await taken.drop()
        if self._listener is not None:
            self._listener.terminate()
            self._listener = None
        if self._pool is not None:
            await self._pool.close()
            self._pool = None


async def _renewed(taken: Taken) -> None:
    """A lease that cannot be renewed ends, and whoever settles its rows is told: nothing is lost by it."""
    try:
        await taken.renew()
    except SluiceError as error:
        logger.warning("the lease of %s could not be renewed: %s", taken, error.message)


def _width(batch: Batch) -> int:
    """Mean bytes of the texts and bytes of a row."""
    if not isinstance(batch.values, Table):
        return 0
    sized = [column for column in batch.values.columns if isinstance(column[0], (str, bytes))]
    return sum(len(value) for column in sized for value in column if value is not None) // len(batch)


def _check(settings: InputSettings, dialect: Dialect) -> None:
    """What settings cannot mean together. Raises InvalidArgument."""
    if settings.mode == "claim" and not dialect.skips_locked:
        raise InvalidArgument(
            "mode: claim holds rows by locks, which SQLite has only for the whole database; use mode: lease"
        )
    if settings.mode == "anti-join" and not settings.results:
        raise InvalidArgument("results: anti-join needs the table in which claims and results are kept")
    if settings.mode == "cursor" and dialect.name != "postgresql":
        raise InvalidArgument("mode: cursor goes by PostgreSQL's transaction ids, which no other database has")
    status = settings.status
    if not settings.delete and settings.mode != "cursor" and status.new in (status.done, status.failed):
        raise InvalidArgument(f"status: a row that is done would wait again, since both are {status.new!r}")
    if settings.delete and settings.mode != "outbox":
        raise InvalidArgument("delete: only rows of an outbox are deleted when they are done")
    if settings.notify and dialect.name != "postgresql":
        raise InvalidArgument("notify: PostgreSQL alone can notify")
