"""Rows that an input has taken, and that are its own until they are settled: what travels in a token.

An output of the same database settles rows in the transaction of their results. What it did not settle when the batch
is acknowledged became dead letters elsewhere; where no such output took part at all, the rows are simply done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from adapters.sql.connection import Connection
from adapters.sql.dialect import Change, Dialect
from adapters.sql.pool import Pool
from adapters.sql.schema import Layout
from adapters.sql.settings import Lease, Status
from gateway.core.errors import SluiceError
from gateway.core.stream import DataError, Fenced, Transient

SAVEPOINT = "sluice"


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows are marked, and how: the table that is read, or with anti-join the table of results.

    lease   its columns are emptied when a row is settled; None without
    delete  rows that are done are deleted
    idle    seconds after which the database ends a transaction that does nothing
    """

    domain: str
    dialect: Dialect
    layout: Layout
    status: Status
    lease: Lease | None = None
    delete: bool = False
    idle: float = 0.0


class Taken:
    """Belongs to one lane: one task uses it at a time.

    ids         of the records, in the order of `match`
    match       the columns that find a row, with their values
    fence       a column, and the value that it has while the row is ours; None where a lock says so
    connection  whose transaction holds the rows; None where none does
    """

    def __init__(
        self,
        place: Place,
        pool: Pool,
        ids: Sequence[str],
        match: Mapping[str, Sequence[Any]],
        fence: tuple[str, Any] | None = None,
        connection: Connection | None = None,
    ) -> None:
        self.place = place
        self.ids = ids
        self.match = match
        self.fence = fence
        self.connection = connection
        self._pool = pool
        self._since: Final = time.monotonic()
        self._pending: Collection[str] = ids
        self._touched = False
        self._over = False
        self._where: dict[str, int] = {}
        #: a renewal and a settlement would wait for each other's rows
        self._turn: Final = asyncio.Lock()
        #: called when it turns out that the rows are somebody else's
        self.lost: Callable[[], None] | None = None

    def __str__(self) -> str:
        return f"{self.place.layout.name} {self.ids[0]}…{self.ids[-1]}" if self.ids else self.place.layout.name

    def found(self, ids: Sequence[str]) -> Mapping[str, Sequence[Any]]:
        """The columns of `match` for these records."""
        if ids is self.ids or ids == self.ids:
            return self.match
        if not self._where:
            self._where = {name: at for at, name in enumerate(self.ids)}
        at = [self._where[name] for name in ids]
        return {name: [column[i] for i in at] for name, column in self.match.items()}

    async def settle(
        self,
        connection: Connection,
        ids: Sequence[str],
        *,
        failed: bool = False,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """Marks rows as done or failed, in the transaction of `connection`, with what is written into them.

        Raises Fenced where a row is somebody else's by now.
        """
        if not ids:
            return
        place, status = self.place, self.place.status
        if place.delete and not columns:
            change = Change(place.layout, self.found(ids), fence=self.fence)
            count = await place.dialect.delete(connection, change)
        else:
            same = {status.column: status.failed if failed else status.done}
            if place.lease is not None:
                same |= {place.lease.until: None, place.lease.token: None}
            change = Change(place.layout, self.found(ids), columns or {}, same, self.fence)
            count = await place.dialect.update(connection, change)
        if count > len(ids):
            names = ", ".join(self.match)
            raise Transient(f"id: {names} of '{place.layout.name}' name {count} rows where they should name {len(ids)}")
        if count < len(ids):
            raise Fenced(f"{len(ids) - count} of {len(ids)} rows of '{place.layout.name}' are somebody else's by now")

    async def renew(self) -> None:
        """Lends the rows anew that are not settled yet, from now on. Of rows that are somebody else's by now it changes
        nothing: whoever settles them is told. Raises Transient."""
        lease = self.place.lease
        async with self._turn:
            if lease is None or self._over or not self._pending:
                return
            dialect, pending = self.place.dialect, list(self._pending)
            until = {lease.until: dialect.later(lease.seconds)}
            change = Change(self.place.layout, self.found(pending), fence=self.fence, expressions=until)
            async with self._pool.transaction() as connection:
                await dialect.update(connection, change)

    @asynccontextmanager
    async def writing(self, pool: Pool, ids: Sequence[str]) -> AsyncIterator[Connection]:
        """The transaction in which `ids` are settled: the rows' own, else one of `pool`'s, which is then committed.

        After a DataError the rows are as they were before.
        """
        try:
            async with self._turn, self._writing(pool, ids) as connection:
                yield connection
        except Fenced:
            self._lose()
            raise

    @asynccontextmanager
    async def _writing(self, pool: Pool, ids: Sequence[str]) -> AsyncIterator[Connection]:
        self._touched = True
        if self.connection is None:
            async with pool.transaction() as connection:
                yield connection
        else:
            connection = await self._held()
            try:
                yield connection
            except DataError:
                await connection.restore(SAVEPOINT)
                raise
        if len(ids) == len(self._pending):
            self._pending = ()
        else:
            gone = set(ids)
            self._pending = [name for name in self._pending if name not in gone]
        if self.connection is not None and not self._pending:
            await self._commit()

    async def finish(self) -> None:
        """Settles what is left. Raises Transient, Fenced, OutcomeUnknown."""
        async with self._turn:
            await self._finish()

    async def _finish(self) -> None:
        if self._over:
            return
        left = list(self._pending)
        if self.connection is not None:
            await self._settle(await self._held(), left)
            await self._commit()
        elif left:
            async with self._pool.transaction() as connection:
                await self._settle(connection, left)
        self._over = True

    async def _settle(self, connection: Connection, ids: Sequence[str]) -> None:
        try:
            await self.settle(connection, ids, failed=self._touched)
        except DataError as error:
            raise Transient(f"rows cannot be marked: {error.message}") from error

    async def _commit(self) -> None:
        connection, self.connection = self.connection, None
        self._over = True
        if connection is None:
            raise AssertionError("it has no transaction")
        clean = False
        try:
            await connection.commit()
            clean = True
        finally:
            self._pool.give(connection, clean=clean)

    async def _held(self) -> Connection:
        """With a savepoint. Raises Transient where the transaction is over: what was computed is dropped, and its rows
        wait again."""
        connection, why = self.connection, "its connection is gone"
        lives = connection is not None and connection.alive
        if connection is not None and lives:
            try:
                await connection.savepoint(SAVEPOINT)
            except Transient as error:
                if connection.alive:
                    raise
                why = error.message
            else:
                return connection
        idle, taken = self.place.idle, time.monotonic() - self._since
        if 0 < idle <= taken:
            why = (
                f"limits.idle is {idle:g} s, and the model and the output took {taken:.1f} s; raise it, take fewer "
                "`rows`, or use mode: lease"
            )
        raise Transient(f"the transaction that held {self} is over: {why}")

    def _lose(self) -> None:
        self._over = True
        connection, self.connection = self.connection, None
        if connection is not None:
            self._pool.give(connection, clean=False)
        if self.lost is not None:
            self.lost()

    async def drop(self) -> None:
        """Gives the rows back, as far as that is possible. Raises nothing."""
        if self._over:
            return
        self._over = True
        connection, self.connection = self.connection, None
        if connection is not None:
            self._pool.give(connection, clean=False)
            return
        lease = self.place.lease
        if lease is None or not self._pending:
            return
        change = Change(
            self.place.layout, self.found(list(self._pending)), {}, {lease.until: None, lease.token: None}, self.fence
        )
        try:
            async with self._pool.transaction() as borrowed:
                await self.place.dialect.update(borrowed, change)
        except SluiceError:
            # The lease ends by itself.
            return
