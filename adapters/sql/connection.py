"""A connection to a database, and what may go wrong with one."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from gateway.core.errors import SluiceError
from gateway.core.stream import OutcomeUnknown, Transient

T = TypeVar("T")
Row = Sequence[Any]


class Connection(ABC):
    """One task uses it at a time. Every method raises Transient, or DataError for a value that the database refuses.

    A statement that is cancelled, or that takes longer than `limit`, ends the connection: what it was about to say
    would be read by the next one.
    """

    #: what the driver raises; `translate` is given only these
    errors: tuple[type[BaseException], ...] = ()

    def __init__(self, driver: Any, limit: float) -> None:
        self.driver = driver
        self.limit = limit

    @property
    @abstractmethod
    def alive(self) -> bool: ...

    @abstractmethod
    def terminate(self) -> None:
        """Ends it at once. The database rolls back what was open."""

    @abstractmethod
    async def close(self) -> None:
        """Ends it politely. Raises nothing."""

    @abstractmethod
    def translate(self, error: BaseException) -> SluiceError: ...

    @abstractmethod
    async def _fetch(self, sql: str, values: Sequence[Any]) -> Sequence[Row]: ...

    @abstractmethod
    async def _execute(self, sql: str, values: Sequence[Any]) -> int: ...

    @abstractmethod
    async def _script(self, sql: str) -> None: ...

    #: how a transaction begins
    beginning = "BEGIN"

    async def fetch(self, sql: str, values: Sequence[Any] = ()) -> Sequence[Row]:
        return await self.run(self._fetch(sql, values))

    async def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Returns how many rows it found."""
        return await self.run(self._execute(sql, values))

    async def script(self, sql: str) -> None:
        """A statement without values."""
        await self.run(self._script(sql))

    async def begin(self) -> None:
        await self.script(self.beginning)

    async def rollback(self) -> None:
        await self.script("ROLLBACK")

    async def commit(self) -> None:
        """Raises OutcomeUnknown where the connection broke, and another Transient where the database said no."""
        try:
            await self.script("COMMIT")
        except Transient as error:
            if self.alive:
                raise
            raise OutcomeUnknown(f"the connection broke during COMMIT: {error}") from error

    async def savepoint(self, name: str) -> None:
        await self.script(f"SAVEPOINT {name}")

    async def restore(self, name: str) -> None:
        """Back to the savepoint, which stays."""
        await self.script(f"ROLLBACK TO SAVEPOINT {name}")

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self.limit):
                return await work
        except asyncio.CancelledError:
            self.terminate()
            raise
        except TimeoutError as error:
            self.terminate()
            raise Transient(f"the database did not answer within {self.limit:g} s") from error
        except self.errors as error:
            raise self.translate(error) from error
