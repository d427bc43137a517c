"""Where another system was read up to, kept beside the results, and who may say so: an epoch for each lane."""

from __future__ import annotations

import json
from typing import Any

from adapters.sql.connection import Connection
from adapters.sql.dialect import Dialect
from adapters.sql.own import check_positions
from adapters.sql.pool import Pool
from gateway.core.errors import Internal
from gateway.core.stream import Fenced, Token


class Positions:
    """A table of (pipeline, lane, position, epoch); made where it is missing. No `name`: it does nothing."""

    def __init__(self, name: str, schema: str, pipeline: str, dialect: Dialect) -> None:
        self._name, self._schema = name, schema
        self._dialect = dialect
        self._table = dialect.table(name, schema) if name else ""
        self._pipeline = pipeline
        self._lanes: set[str] = set()

    async def prepare(self, pool: Pool) -> None:
        if self._name:
            dialect = self._dialect
            layout = await dialect.reflect_or_create(pool, self._name, self._schema, "positions", dialect.positions)
            check_positions(layout)

    async def take_over(self, connection: Connection, lane: str) -> tuple[int, Any]:
        epoch, position = await self._dialect.take_over(connection, self._table, self._pipeline, lane)
        self._lanes.add(lane)
        return epoch, None if position is None else json.loads(position)

    async def store(self, connection: Connection, token: Token) -> None:
        """First of the transaction, so that an owner that is over waits for nothing but being told so. Raises Fenced.

        Lanes that were never taken over have no position here, nor has what is written without one.
        """
        if token.lane not in self._lanes or token.position is None:
            return
        try:
            text = json.dumps(token.position, separators=(",", ":"))
        except TypeError as error:
            raise Internal(f"a position of lane '{token.lane}' cannot be stored: {error}") from error
        mark = self._dialect.mark
        found = await connection.execute(
            f"UPDATE {self._table} SET position = {mark(1)} "
            f"WHERE pipeline = {mark(2)} AND lane = {mark(3)} AND epoch = {mark(4)}",
            (text, self._pipeline, token.lane, token.epoch),
        )
        if not found:
            raise Fenced(f"lane '{token.lane}' has another owner since epoch {token.epoch}")
