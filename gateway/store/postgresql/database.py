"""Connections to PostgreSQL, none of which may wait for longer than it is given."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit
from weakref import WeakSet

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from gateway.core.errors import Unavailable
from gateway.store.contract import Unusable
from gateway.store.postgresql.hosts import CONNECT_LIMIT, DRIVERS, Hosts

#: seconds for a transaction, the connection included
LIMIT: Final = 4.0
#: seconds that the server has to take leave of a connection
CLOSE_LIMIT: Final = 1.0
#: connections that are kept, and seconds for which; one more in need, and one that listens
POOL: Final = 2
KEPT: Final = 30
DIALECT: Final = "postgresql+asyncpg://"

_MILLISECONDS: Final = 1000


#: wrong password, wrong user, no such database, no rights, a URL that contradicts itself, another's certificate
_UNUSABLE: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.exceptions.ClientConfigurationError,
    ssl.SSLCertVerificationError,
)


class Database:
    """Reached by a libpq URL: several hosts, `sslmode` and the like are asyncpg's to understand.

    Connections are not kept for long: one that a firewall has forgotten, or whose server is not the one that takes
    changes any more, would be found out by the change that fails.

    url    with its password, which no message shows
    name   of the program, as the server's own views show it
    """

    def __init__(self, url: str, name: str) -> None:
        self.name = shown(url)
        milliseconds = str(int(LIMIT * _MILLISECONDS))
        self._hosts = Hosts(
            url,
            {
                "application_name": name,
                "statement_timeout": milliseconds,
                "idle_in_transaction_session_timeout": milliseconds,
            },
        )
        self._engine: AsyncEngine | None = None
        self._single: AsyncEngine | None = None
        self._connections: WeakSet[asyncpg.Connection] = WeakSet()

    async def __aenter__(self) -> Self:
        """Connects to nothing yet."""
        shared: dict[str, Any] = {"async_creator": self._connect, "hide_parameters": True}
        self._engine = create_async_engine(
            DIALECT, pool_size=POOL, max_overflow=1, pool_timeout=LIMIT, pool_pre_ping=True, pool_recycle=KEPT, **shared
        )
        self._single = create_async_engine(DIALECT, poolclass=NullPool, isolation_level="AUTOCOMMIT", **shared)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        engine, self._engine, self._single = self._engine, None, None
        if engine:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_LIMIT):
                    await engine.dispose()
        # those whose server does not say goodbye
        for connection in self._connections:
            connection.terminate()

    @asynccontextmanager
    async def transaction(self, limit: float = LIMIT, isolation: str = "") -> AsyncIterator[AsyncConnection]:
        """Committed at the end, or rolled back. Raises Unavailable, the body's own errors as they are.

        limit   seconds, for both sides: a client that vanishes does not keep others waiting either
        """
        with self.translated(limit):
            async with asyncio.timeout(limit), self._opened(self._engine).connect() as connection:
                if isolation:
                    await connection.execution_options(isolation_level=isolation)
                try:
                    async with connection.begin():
                        if limit > LIMIT:
                            milliseconds = int(limit * _MILLISECONDS)
                            await connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
                        yield connection
                except DBAPIError as error:
                    if isinstance(_driver(error), asyncpg.ReadOnlySQLTransactionError):
                        await connection.invalidate()  # the server stepped down: the next one may be another
                    raise

    @asynccontextmanager
    async def single(self) -> AsyncIterator[AsyncConnection]:
        """A connection of its own, which commits by itself, and is closed at the end. Raises as `transaction` does."""
        with self.translated(LIMIT):
            async with self._opened(self._single).connect() as connection:
                try:
                    yield connection
                finally:
                    await connection.invalidate()

    def _opened(self, engine: AsyncEngine | None) -> AsyncEngine:
        if engine is None:
            raise Unavailable(f"control state '{self.name}' is not open")
        return engine

    @contextmanager
    def translated(self, limit: float) -> Iterator[None]:
        """What the driver raises becomes Unavailable."""
        try:
            yield
        except TimeoutError as error:
            raise Unavailable(f"control state '{self.name}': no answer within {limit:g} s") from error
        except (SQLAlchemyError, *DRIVERS, OSError) as error:
            raise self._translation(error) from error

    def _translation(self, error: Exception) -> Unavailable:
        driver = _driver(error)
        if isinstance(driver, OSError) and driver.strerror:
            reason = driver.strerror
        elif isinstance(driver, asyncpg.InterfaceError) and "closed" in str(driver):
            reason = "the connection was lost"
        else:
            reason = next(iter(str(driver).strip().splitlines()), type(driver).__name__)
        message = f"control state '{self.name}': {reason}"
        return Unusable(message) if isinstance(driver, _UNUSABLE) else Unavailable(message)

    async def _connect(self, *args: Any, **options: Any) -> Any:
        try:
            connection = await self._hosts.connect()
        except TimeoutError as error:
            raise Unavailable(f"control state '{self.name}': no connection within {CONNECT_LIMIT:g} s") from error
        except ValueError as error:
            raise Unusable(f"control state '{self.name}': {error}") from error
        self._connections.add(connection)
        return connection


def _driver(error: Exception) -> BaseException:
    """What asyncpg said: SQLAlchemy's own message has the statement in it."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return cause.__cause__ or cause


def shown(url: str) -> str:
    """The URL as logs and messages may have it: without password, and without what follows the database."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{user.partition(':')[0]}{at}{hosts}{parts.path}"
