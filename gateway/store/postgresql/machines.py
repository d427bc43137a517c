"""Who shares the store: each gateway says every second what it has in force, and hears when something changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.contract import LIVE_FOR, Machine
from gateway.store.postgresql import tables
from gateway.store.postgresql.database import LIMIT, Database
from gateway.store.rows import text as as_json

#: NOTIFY's channel; what is said on it is for people who listen
CHANNEL: Final = "sluice"
#: seconds of silence after which a gateway is forgotten
KEPT_FOR: Final = 3600.0

_machines: Final = tables.machines.c


@dataclass(frozen=True, slots=True)
class Identity:
    """This gateway, to the others.

    id       of the process
    home     of its state folder: whoever starts in it takes the place of whoever ran there before
    name     what people call the machine
    program  the version of Sluice
    """

    id: str
    home: str
    name: str
    program: str


class PostgresqlChannel:
    """A `Channel`."""

    def __init__(
        self, connection: AsyncConnection, database: Database, identity: Identity, heard: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._database = database
        self._identity = identity
        self._heard = heard
        self._told: tuple[int, Mapping[str, str]] | None = None

    async def open(self) -> None:
        async with self._limited():
            driver: Any = (await self._connection.get_raw_connection()).driver_connection
            await driver.add_listener(CHANNEL, lambda *_: self._heard())
            driver.add_termination_listener(lambda *_: self._heard())
            # what is said every second need not outlive a crash of the server
            await self._connection.execute(text("SET synchronous_commit = off"))
            before = (_machines.home == self._identity.home) & (_machines.id != self._identity.id)
            long_gone = _machines.seen < func.now() - text(f"interval '{KEPT_FOR:g} seconds'")
            await self._connection.execute(delete(tables.machines).where(before | long_gone))

    async def tell(self, revision: int, troubles: Mapping[str, str]) -> int:
        said = {"revision": revision, "troubles": as_json(troubles), "seen": func.clock_timestamp()}
        me = self._identity
        row = {"id": me.id, "home": me.home, "name": me.name, "program": me.program, **said}
        statement = upsert(tables.machines).values(row).on_conflict_do_update(index_elements=["id"], set_=said)
        async with self._limited():
            await self._connection.execute(statement)
            if (revision, troubles) != self._told:
                await self._connection.execute(text(f"NOTIFY {CHANNEL}, 'acknowledged'"))
                self._told = revision, troubles
            return int((await self._connection.execute(select(tables.revision.c.value))).scalar_one())

    async def leave(self) -> None:
        async with self._limited():
            await self._connection.execute(delete(tables.machines).where(_machines.id == self._identity.id))
            await self._connection.execute(text(f"NOTIFY {CHANNEL}, 'left'"))

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        with self._database.translated(LIMIT):
            async with asyncio.timeout(LIMIT):
                yield


async def machines(connection: AsyncConnection) -> list[Machine]:
    silence = func.extract("epoch", func.clock_timestamp() - _machines.seen)
    rows = await connection.execute(
        select(_machines.name, _machines.program, _machines.revision, _machines.troubles, silence).order_by(
            _machines.name, _machines.id
        )
    )
    return [
        Machine(name, program, revision, msgspec.json.decode(troubles), float(silent), float(silent) < LIVE_FOR)
        for name, program, revision, troubles, silent in rows
    ]
