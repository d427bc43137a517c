"""Finds the row of a batch that a database refuses without saying which."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from adapters.sql.connection import Connection
from gateway.core.stream import DataError

PROBE = "sluice_probe"


async def locate(
    connection: Connection, count: int, write: Callable[[int, int], Awaitable[None]], error: DataError
) -> DataError:
    """`write` writes the rows from an index to another, in the transaction of `connection`; all together were refused.

    Rows that are written stay so while it looks on, so that a row is found that is refused because of one before it
    (both have the same key, say). Whoever asked undoes it all.
    """
    start, stop = 0, count
    found = error
    while stop - start > 1:
        middle = (start + stop) // 2
        await connection.savepoint(PROBE)
        try:
            await write(start, middle)
        except DataError as refused:
            await connection.restore(PROBE)
            found = refused
            if refused.record >= 0:
                return DataError(refused.message, start + refused.record)
            stop = middle
        else:
            start = middle
    return DataError(found.message, start)
