"""Connections that are not in use, and the way to one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from adapters.sql.connection import Connection
from gateway.core.stream import DataError, Transient


class Pool:
    """Opens a connection when one is wanted and none is idle, `limit` at most; who wants one more waits."""

    def __init__(self, open: Callable[[], Awaitable[Connection]], limit: int) -> None:
        #: a connection that the pool does not count
        self.open = open
        self._room = asyncio.Semaphore(limit)
        self._idle: list[Connection] = []
        self._closed = False

    async def take(self) -> Connection:
        """To be given back by `give`, whatever happens. Raises Transient."""
        await self._room.acquire()
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
        try:
            return await self.open()
        except BaseException:
            self._room.release()
            raise

    def give(self, connection: Connection, *, clean: bool = True) -> None:
        """`clean`: no transaction is open; else it is ended with its connection."""
        if not clean or self._closed:
            connection.terminate()
        if connection.alive:
            self._idle.append(connection)
        self._room.release()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        connection = await self.take()
        clean = False
        try:
            yield connection
            clean = True
        finally:
            self.give(connection, clean=clean)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Committed at the end, rolled back by any error. Raises what `Connection.commit` raises."""
        connection = await self.take()
        clean = False
        try:
            await connection.begin()
            try:
                yield connection
            except (DataError, Transient):
                clean = await _undone(connection)
                raise
            await connection.commit()
            clean = True
        finally:
            self.give(connection, clean=clean)

    async def close(self) -> None:
        """What is still taken ends when it is given back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()


async def _undone(connection: Connection) -> bool:
    """Whether the transaction is rolled back; some errors (SQLite's full disk) have done that already."""
    try:
        if connection.alive:
            await connection.rollback()
            return True
    except (DataError, Transient):
        pass
    return False
