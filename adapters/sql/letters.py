"""Dead letters of a table, given back one after the other to be put back where their records were read."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from adapters.sql.address import Address
from adapters.sql.connection import Row
from adapters.sql.dialect import Change, Dialect, dialect
from adapters.sql.own import check_letters
from adapters.sql.pool import Pool
from adapters.sql.schema import Layout
from adapters.sql.settings import OutputSettings
from gateway.core import letter
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Batch, Context, Credit, DataError, DeadLetter, Message, Source, Token, Transient

LETTER = ("id", "reason", "value", "key", "headers", "lane", "position", "attempts", "model", "timestamp")


class SqlLetters:
    """`kept`: of the output's table of dead letters; else of the table itself, whose values are letters.

    Acknowledged letters are deleted.
    """

    def __init__(self, settings: OutputSettings, context: Context, kept: bool) -> None:
        if kept and not settings.dead_letters:
            raise InvalidArgument(
                "mark_failed: the dead letters are rows of the table that is read; let them wait again by setting "
                "their status back: UPDATE … SET status = 'new' WHERE status = 'failed'"
            )
        if not kept and not (settings.value and settings.id):
            raise InvalidArgument("value: dead letters in a table of their own need the columns `id` and `value`")
        self._settings = settings
        self._kept = kept
        self._pipeline = context.pipeline
        self._address = Address.of(settings.url, settings.password_file)
        self._dialect: Dialect = dialect(self._address.system)
        self._table = settings.dead_letters if kept else settings.table
        self._id = "id" if kept else settings.id
        self._pool: Pool | None = None
        self._layout: Layout | None = None
        self._last: str | None = None

    @property
    def source(self) -> Source:
        return Source(f"sql table {self._table}", stable_ids=True, ordered=True)

    async def connect(self) -> None:
        await self.close()
        purpose = f"sluice letters {self._pipeline}"
        self._pool = Pool(lambda: self._dialect.open(self._address, self._settings.limits, purpose), 2)
        field = "dead_letters" if self._kept else "table"
        layout = await self._dialect.reflect(self._pool.open, self._table, self._settings.schema, field)
        if self._kept:
            check_letters(layout)
        else:
            layout.column(self._id, "id")
            layout.column(self._settings.value, "value")
        self._layout = layout
        self._last = None

    async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
        if self._pool is None or self._layout is None:
            raise Transient("it is not connected")
        async with self._pool.connection() as connection:
            rows = await connection.fetch(*self._select(credit.rows))
        if not rows:
            return None
        ids = [str(row[0]) for row in rows]
        self._last = ids[-1]
        values = [_encoded(row) if self._kept else _bytes(row[1]) for row in rows]
        return Batch(ids, values), Token(self._table, 1, ids)

    def _select(self, rows: int) -> tuple[str, Sequence[Any]]:
        dialect, quote = self._dialect, self._dialect.quote
        names = LETTER if self._kept else (self._id, self._settings.value)
        conditions, values = [], []
        for name, sign, value in (
            ("pipeline", "=", self._pipeline if self._kept else None),
            (self._id, ">", self._last),
        ):
            if value is not None:
                values.append(value)
                conditions.append(f"{quote(name)} {sign} {dialect.mark(len(values))}")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        table = dialect.table(self._table, self._settings.schema)
        return f"SELECT {dialect.names(names)} FROM {table}{where} ORDER BY {quote(self._id)} LIMIT {int(rows)}", values

    async def ack(self, token: Token) -> None:
        if self._pool is None or self._layout is None:
            raise Transient("it is not connected")
        ids: Sequence[str] = token.position
        match: dict[str, Sequence[Any]] = {self._id: ids}
        if self._kept:
            match["pipeline"] = [self._pipeline] * len(ids)
        try:
            async with self._pool.transaction() as connection:
                await self._dialect.delete(connection, Change(self._layout, match))
        except DataError as error:
            raise Transient(f"dead letters cannot be deleted: {error.message}") from error

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None


def _encoded(row: Row) -> bytes:
    name, reason, value, key, headers, lane, position, attempts, model, timestamp = row
    parsed = tuple((header, base64.b64decode(text)) for header, text in json.loads(headers or "[]"))
    message = Message(name, _bytes(value), _bytes(key), parsed, timestamp)
    return letter.encode(DeadLetter(message, reason, lane, position, attempts, model))


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
