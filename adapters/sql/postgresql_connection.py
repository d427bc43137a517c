"""A connection to PostgreSQL by asyncpg."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import asyncpg

from adapters.sql import tls
from adapters.sql.address import Address
from adapters.sql.connection import Connection, Row
from adapters.sql.settings import Limits
from gateway.core.errors import SluiceError
from gateway.core.stream import DataError, Transient

#: classes of SQLSTATE that say that a value is at fault: data exception, integrity, CHECK OPTION, RAISE in a trigger
AT_FAULT = ("22", "23", "44", "P0001", "54000", "21000")


class PostgreSQLConnection(Connection):
    errors = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

    def __init__(self, driver: Any, limit: float) -> None:
        super().__init__(driver, limit)
        #: columns that were copied to → the numbers of their types
        self.copied: dict[str, tuple[int, ...]] = {}

    @property
    def alive(self) -> bool:
        return not self.driver.is_closed()

    def terminate(self) -> None:
        self.driver.terminate()

    async def close(self) -> None:
        try:
            await self.driver.close(timeout=5)
        except (*self.errors, TimeoutError):
            self.driver.terminate()

    def translate(self, error: BaseException) -> SluiceError:
        if isinstance(error, asyncpg.exceptions.DataError):
            return DataError(f"PostgreSQL: {_short(error)}", _element(str(error)))
        if isinstance(error, asyncpg.PostgresError):
            state = str(error.sqlstate or "")
            message = f"PostgreSQL {state}: {_short(error)}"
            if detail := getattr(error, "detail", None):
                message += f" ({detail})"
            if state.startswith(AT_FAULT):
                return DataError(message, _line(getattr(error, "context", None) or ""))
            return Transient(message)
        return Transient(f"PostgreSQL: {_short(error) or type(error).__name__}")

    async def _fetch(self, sql: str, values: Sequence[Any]) -> Sequence[Row]:
        rows: Sequence[Row] = await self.driver.fetch(sql, *values)
        return rows

    async def _execute(self, sql: str, values: Sequence[Any]) -> int:
        status: str = await self.driver.execute(sql, *values)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def _script(self, sql: str) -> None:
        await self.driver.execute(sql)


async def opened(address: Address, limits: Limits, purpose: str) -> PostgreSQLConnection:
    """Raises Transient."""
    try:
        driver = await asyncpg.connect(
            host=address.host,
            port=address.port,
            user=address.user or None,
            password=address.password() or None,
            database=address.database,
            ssl=_tls(address),
            timeout=limits.connect,
            # What COPY goes by is not looked up again without our noticing.
            max_cached_statement_lifetime=0,
            server_settings={"application_name": purpose[:60], "TimeZone": "UTC", "DateStyle": "ISO"},
        )
    except (*PostgreSQLConnection.errors, TimeoutError) as error:
        raise Transient(f"{address.domain}: {_short(error) or 'no answer'}") from error
    connection = PostgreSQLConnection(driver, limits.statement + limits.connect)
    try:
        # A generic plan cannot know how few rows are asked for, and would sort a whole table for them.
        await connection.script(
            f"SET statement_timeout = {_ms(limits.statement)}; SET lock_timeout = {_ms(limits.lock)};"
            f"SET idle_in_transaction_session_timeout = {_ms(limits.idle)};"
            "SET plan_cache_mode = force_custom_plan; SET default_transaction_isolation = 'read committed'"
        )
    except BaseException:
        connection.terminate()
        raise
    return connection


def _tls(address: Address) -> Any:
    """As libpq: sslmode in the URL, and sslrootcert for verify-ca and verify-full."""
    mode = address.options.get("sslmode", "prefer")
    if mode not in ("verify-ca", "verify-full"):
        return mode
    made = tls.context(address.options, "sslrootcert", "sslcert", "sslkey")
    made.check_hostname = mode == "verify-full"
    return made


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _short(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _element(message: str) -> int:
    """Which element of an array the driver could not encode: the row; of COPY, it does not say."""
    found = re.search(r"invalid array element at index (\d+)", message)
    return int(found[1]) if found else -1


def _line(context: str) -> int:
    """COPY says in which of its lines the value was."""
    found = re.search(r"COPY .*, line (\d+)", context)
    return int(found[1]) - 1 if found else -1
