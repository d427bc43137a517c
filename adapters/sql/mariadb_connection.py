"""A connection to MariaDB or MySQL by asyncmy."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

import asyncmy
from asyncmy import errors as driver_errors
from asyncmy.constants import CLIENT

from adapters.sql import tls
from adapters.sql.address import Address
from adapters.sql.connection import Connection, Row
from adapters.sql.settings import Limits
from gateway.core.errors import SluiceError
from gateway.core.stream import DataError, Transient

#: errors that say that a value is at fault: NULL where there must be none,
#: duplicate, foreign key, range, length, conversion, CHECK, SIGNAL, JSON
AT_FAULT = frozenset(
    {1048, 1062, 1169, 1216, 1263, 1264, 1265, 1292, 1364, 1366, 1406, 1411, 1451, 1452, 1586, 1644, 1690, 1977, 3140}
    | {3819, 4025, 4038}
)


class MariaDBConnection(Connection):
    errors = (driver_errors.MySQLError, OSError, EOFError)
    beginning = "START TRANSACTION"
    #: bytes that a statement may have
    packet = 1 << 20

    @property
    def alive(self) -> bool:
        return bool(self.driver.connected)

    def terminate(self) -> None:
        self.driver.close()

    async def close(self) -> None:
        try:
            async with asyncio.timeout(5):
                await self.driver.ensure_closed()
        except (*self.errors, TimeoutError):
            self.driver.close()

    def translate(self, error: BaseException) -> SluiceError:
        number, message = _parts(error)
        if number in AT_FAULT:
            return DataError(f"MariaDB {number}: {message}", -1)
        return Transient(f"MariaDB {number}: {message}" if number else f"MariaDB: {message}")

    async def _fetch(self, sql: str, values: Sequence[Any]) -> Sequence[Row]:
        async with self.driver.cursor() as cursor:
            await cursor.execute(sql, tuple(values))
            rows: Sequence[Row] = await cursor.fetchall()
            return rows

    async def _execute(self, sql: str, values: Sequence[Any]) -> int:
        async with self.driver.cursor() as cursor:
            await cursor.execute(sql, tuple(values))
            return int(cursor.rowcount)

    async def _script(self, sql: str) -> None:
        await self._execute(sql, ())


async def opened(address: Address, limits: Limits) -> MariaDBConnection:
    """Raises Transient."""
    try:
        async with asyncio.timeout(limits.connect):
            driver = await asyncmy.connect(
                host=address.host,
                port=address.port,
                user=address.user,
                password=address.password(),
                db=address.database,
                charset="utf8mb4",
                connect_timeout=limits.connect,
                ssl=_tls(address),
                # Rows that are found, not rows that are changed: a fence is counted by them.
                client_flag=CLIENT.FOUND_ROWS,
            )
    except MariaDBConnection.errors as error:
        raise Transient(f"{address.domain}: {_parts(error)[1]}") from error
    except TimeoutError as error:
        raise Transient(f"{address.domain}: no answer within {limits.connect:g} s") from error
    connection = MariaDBConnection(driver, limits.statement + limits.connect)
    try:
        await _prepare(connection, limits)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _prepare(connection: MariaDBConnection, limits: Limits) -> None:
    # Strict: else a value that is too long is cut, and one out of range replaced, without a word. Read committed:
    # else every row that was looked at stays locked.
    for statement in (
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
        "SET SESSION time_zone = '+00:00', autocommit = 1",
        f"SET SESSION innodb_lock_wait_timeout = {max(1, round(limits.lock))}",
    ):
        await connection.script(statement)
    connection.packet = int((await connection.fetch("SELECT @@max_allowed_packet"))[0][0])
    if "MariaDB" in str(connection.driver.get_server_info()):
        await connection.script(
            f"SET SESSION max_statement_time = {limits.statement:f}, "
            f"idle_transaction_timeout = {max(1, round(limits.idle))}"
        )
    else:
        await connection.script(
            f"SET SESSION max_execution_time = {max(1, round(limits.statement * 1000))}, "
            f"wait_timeout = {max(1, round(limits.idle))}"
        )


def _tls(address: Address) -> ssl.SSLContext | None:
    """ssl_ca=FILE in the URL, or ssl=true for the system's authorities; the host has to be in the certificate."""
    if "ssl_ca" not in address.options and address.options.get("ssl") != "true":
        return None
    return tls.context(address.options, "ssl_ca", "ssl_cert", "ssl_key")


def _parts(error: BaseException) -> tuple[int, str]:
    """The server's number of an error, 0 for none, and what it says."""
    if len(error.args) >= 2 and isinstance(error.args[0], int):
        return error.args[0], str(error.args[1])
    return 0, str(error) or type(error).__name__
