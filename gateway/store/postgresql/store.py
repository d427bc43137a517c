"""The control state in PostgreSQL: one truth for all machines that name it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from sqlalchemy import bindparam, delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import __version__
from gateway.core.errors import Conflict, NotFound, Unavailable
from gateway.store.contract import Act, AuditEntry, Machine, Mutation, State
from gateway.store.lock import FolderLock
from gateway.store.postgresql import migrations, tables
from gateway.store.postgresql.database import LIMIT, Database
from gateway.store.postgresql.machines import CHANNEL, Identity, PostgresqlChannel, machines
from gateway.store.rows import KINDS, changes, new_blobs, state_of
from gateway.store.rows import text as as_json

#: bytes a second that blobs travel at least
BLOB_RATE: Final = 4 << 20
#: seconds to read one, whose size nobody knows before
BLOB_LIMIT: Final = 60.0

_SNAPSHOT: Final = "REPEATABLE READ"
_HOME: Final = "machine-id"


class PostgresqlStore:
    """A `SharedStore`. Opening it connects to nothing: whatever is asked first does, and makes the tables.

    url      libpq's, with its password
    folder   the state folder, which it locks; None: none, for tests
    name     of this machine, in the audit trail and wherever machines are named
    """

    def __init__(self, url: str, folder: Path | None, name: str) -> None:
        self._database = Database(url, f"sluice {name}")
        self._folder = folder
        self._name = name
        self._identity: Identity | None = None
        self._migrating = asyncio.Lock()
        self._migrated = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._folder:
                lock = FolderLock(self._folder)
                lock.acquire()
                stack.callback(lock.release)
            home = _home(self._folder) if self._folder else token_hex(8)
            self._identity = Identity(token_hex(8), home, self._name, __version__)
            await stack.enter_async_context(self._database)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def read(self) -> State:
        async with self._transaction(isolation=_SNAPSHOT) as connection:
            return await _state(connection)

    async def change(
        self, expected: int | None, mutation: Mutation, act: Act, blobs: Mapping[str, bytes] | None = None
    ) -> State:
        """Where the server does not answer to the commit, it is asked again whether that has happened."""
        mark, new = token_hex(16), None
        size = sum(map(len, (blobs or {}).values()))
        try:
            async with self._transaction(LIMIT + size / BLOB_RATE) as connection:
                await migrations.check(connection, self._database)
                new = await self._write(connection, expected, mutation, blobs or {})
                await self._leave_trace(connection, new.revision - 1, new.revision, act, mark)
                await connection.execute(text(f"NOTIFY {CHANNEL}, 'revision {int(new.revision)}'"))
        except Unavailable as error:
            if new is None or not await self._was_committed(new.revision, mark, error):
                raise
        return new

    async def blob(self, digest: str) -> bytes:
        async with self._transaction(BLOB_LIMIT) as connection:
            query = select(tables.blobs.c.data).where(tables.blobs.c.digest == digest)
            data = (await connection.execute(query)).scalar()
        if data is None:
            raise NotFound(f"no blob {digest} in the control state")
        return bytes(data)

    async def audit(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        columns = tables.audit.c
        query = select(tables.audit).order_by(columns.id.desc()).limit(limit)
        if before is not None:
            query = query.where(columns.id < before)
        async with self._transaction() as connection:
            return [
                AuditEntry(
                    row.id,
                    row.at,
                    row.before,
                    row.after,
                    Act(row.actor, row.origin, row.action, row.target, msgspec.json.decode(row.detail)),
                    row.machine,
                )
                for row in await connection.execute(query)
            ]

    async def note(self, act: Act) -> None:
        """As `View.note`."""
        async with self._transaction() as connection:
            await migrations.check(connection, self._database)
            revision = (await connection.execute(select(tables.revision.c.value))).scalar_one()
            await self._leave_trace(connection, revision, revision, act, token_hex(16))

    @asynccontextmanager
    async def channel(self, heard: Callable[[], None]) -> AsyncIterator[PostgresqlChannel]:
        if self._identity is None:
            raise Unavailable(f"control state '{self._database.name}' is not open")
        await self._migrate()
        async with self._database.single() as connection:
            channel = PostgresqlChannel(connection, self._database, self._identity, heard)
            await channel.open()
            yield channel

    async def machines(self) -> list[Machine]:
        async with self._transaction() as connection:
            return await machines(connection)

    @asynccontextmanager
    async def _transaction(self, limit: float = LIMIT, isolation: str = "") -> AsyncIterator[AsyncConnection]:
        await self._migrate()
        async with self._database.transaction(limit, isolation) as connection:
            yield connection

    async def _migrate(self) -> None:
        if not self._migrated:
            async with self._migrating:
                await migrations.migrate(self._database)
                self._migrated = True

    async def _write(
        self, connection: AsyncConnection, expected: int | None, mutation: Mutation, blobs: Mapping[str, bytes]
    ) -> State:
        # whoever else changes something waits here until this transaction has ended
        await connection.execute(select(tables.revision.c.value).with_for_update())
        old = await _state(connection)
        if expected is not None and expected != old.revision:
            raise Conflict(f"the control state is at revision {old.revision}, not {expected}")
        new = replace(mutation(old), revision=old.revision + 1)
        await _write_rows(connection, old, new)
        await _write_blobs(connection, new, blobs)
        return new

    async def _leave_trace(self, connection: AsyncConnection, before: int, after: int, act: Act, mark: str) -> None:
        entry = {
            "at": time.time(),
            "before": before,
            "after": after,
            "actor": act.actor,
            "origin": act.origin,
            "action": act.action,
            "target": act.target,
            "detail": as_json(act.detail),
            "machine": self._name,
            "mark": mark,
        }
        await connection.execute(insert(tables.audit).values(entry))

    async def _was_committed(self, revision: int, mark: str, lost: Unavailable) -> bool:
        query = select(tables.audit.c.id).where(tables.audit.c.after == revision, tables.audit.c.mark == mark)
        try:
            async with self._database.transaction() as connection:
                # the server may not yet have noticed that nobody is there for the first try: it holds this row
                await connection.execute(select(tables.revision.c.value).with_for_update())
                return (await connection.execute(query)).first() is not None
        except Unavailable:
            raise Unavailable(
                f"{lost.message}; whether revision {revision} was written will be known when it is back"
            ) from lost


async def _state(connection: AsyncConnection) -> State:
    revision = (await connection.execute(select(tables.revision.c.value))).scalar_one()
    rows: dict[str, list[Any]] = {}
    for kind in KINDS:
        table = tables.kinds[kind.name]
        rows[kind.name] = list(await connection.execute(select(*(table.c[name] for name in kind.columns))))
    return state_of(revision, rows)


async def _write_rows(connection: AsyncConnection, old: State, new: State) -> None:
    for kind, gone, rows in changes(old, new):
        table, (key, *others) = tables.kinds[kind.name], kind.columns
        if gone:
            await connection.execute(delete(table).where(table.c[key].in_(gone)))
        if rows:
            put = upsert(table)
            put = put.on_conflict_do_update(index_elements=[key], set_={name: put.excluded[name] for name in others})
            await connection.execute(put, [dict(zip(kind.columns, row, strict=True)) for row in rows])
    await connection.execute(update(tables.revision).values(value=new.revision))


async def _write_blobs(connection: AsyncConnection, new: State, blobs: Mapping[str, bytes]) -> None:
    have = set((await connection.execute(select(tables.blobs.c.digest))).scalars())
    fresh, gone = new_blobs(new, have, blobs)
    if fresh:
        rows = [{"digest": digest, "data": data} for digest, data in fresh.items()]
        await connection.execute(insert(tables.blobs), rows)
    if gone:
        await connection.execute(
            delete(tables.blobs).where(tables.blobs.c.digest == bindparam("one")), [{"one": digest} for digest in gone]
        )


def _home(folder: Path) -> str:
    """The state folder's own id, made when it is first used. Raises Unavailable."""
    path = folder / _HOME
    try:
        if path.exists():
            return path.read_text(encoding="ascii", errors="replace").strip()
        home = token_hex(8)
        path.write_text(home + "\n", encoding="ascii")
    except OSError as error:
        raise Unavailable(f"the machine's id cannot be kept in '{path}': {error.strerror}") from error
    return home
