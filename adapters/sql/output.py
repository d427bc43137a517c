"""Results as rows: in a table of their own, or in the rows that were read; positions and dead letters beside them."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from adapters.sql.address import Address
from adapters.sql.connection import Connection
from adapters.sql.dialect import Dialect, dialect
from adapters.sql.own import check_letters
from adapters.sql.poison import locate
from adapters.sql.pool import Pool
from adapters.sql.positions import Positions
from adapters.sql.schema import Kind, Layout
from adapters.sql.settings import OutputSettings
from adapters.sql.taken import SAVEPOINT, Taken
from gateway.core.crashpoint import crash
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Ability, Context, DataError, DeadLetter, Rows, Sink, Transient
from gateway.core.table import Table

Columns = Mapping[str, Sequence[Any]]


class SqlOutput:
    """In the transaction of the rows that were read, where they are of the same database; else in one of its own."""

    def __init__(self, settings: OutputSettings, context: Context) -> None:
        self._settings = settings
        self._pipeline = context.pipeline
        self._address = Address.of(settings.url, settings.password_file)
        self._dialect: Dialect = dialect(self._address.system)
        _check(settings)
        self._pool: Pool | None = None
        self._layout: Layout | None = None
        self._letters: Layout | None = None
        self._positions = Positions(settings.positions, settings.schema, context.pipeline, self._dialect)

    @property
    def sink(self) -> Sink:
        settings = self._settings
        abilities = {Ability.TRANSACTIONAL, Ability.PLAIN}
        if settings.positions:
            abilities.add(Ability.STORES_OFFSETS)
        if settings.mode in ("results", "update"):
            abilities.add(Ability.IDEMPOTENT)
        return Sink(
            f"sql table {settings.table or 'that is read'}",
            frozenset(abilities),
            self._address.domain,
            dead_letters=bool(settings.dead_letters or settings.mark_failed),
        )

    async def connect(self) -> None:
        await self.close()
        settings, dialect = self._settings, self._dialect
        purpose = f"sluice {self._pipeline}"
        self._pool = Pool(lambda: dialect.open(self._address, settings.limits, purpose), settings.connections)
        if settings.table:
            layout = await dialect.reflect(self._pool.open, settings.table, settings.schema, "table")
            for field in ("id", "key", "value"):
                if name := getattr(settings, field):
                    layout.require(name, field, (Kind.TEXT, Kind.BYTES, Kind.JSON, Kind.UUID, Kind.INTEGER))
            for name in settings.match:
                layout.column(name, "match")
            if settings.mode == "results":
                match, field = (settings.match, "match") if settings.match else ((settings.id,), "id")
                layout.require_unique(match, field)
            self._layout = layout
        await self._positions.prepare(self._pool)
        if name := settings.dead_letters:
            self._letters = await dialect.reflect_or_create(
                self._pool, name, settings.schema, "dead_letters", dialect.dead_letters
            )
            check_letters(self._letters)

    async def take_over(self, lane: str) -> tuple[int, Any]:
        if not self._settings.positions:
            raise InvalidArgument("positions: the output has no table for them")
        async with self._connected().transaction() as connection:
            return await self._positions.take_over(connection, lane)

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        pool = self._connected()
        taken = rows.source.position
        if not isinstance(taken, Taken) or taken.place.domain != self._address.domain:
            taken = None
        if taken is None and (self._settings.mode == "update" or self._settings.mark_failed):
            raise Transient(
                f"update, mark_failed: the records are not rows of {self._address.domain}; use mode: results, or give "
                "the input the same host, port and database"
            )
        ids = rows.batch.ids
        own: AbstractAsyncContextManager[Connection] = (
            pool.transaction() if taken is None else taken.writing(pool, [*ids, *(each.message.id for each in dead)])
        )
        async with own as connection:
            if taken is None:
                await self._positions.store(connection, rows.source)
            if ids:
                await self._store(connection, rows, taken)
            if dead:
                await self._bury(connection, dead, taken)
            if crash is not None:
                crash.reach("before-commit")

    async def _store(self, connection: Connection, rows: Rows, taken: Taken | None) -> None:
        """Raises DataError with the index of a row that is refused, whatever the database said."""
        store = self._update if self._settings.mode == "update" else self._add
        held = taken is not None and taken.connection is connection
        try:
            await store(connection, rows, taken)
        except DataError as error:
            if error.record >= 0 or len(rows.batch) == 1:
                raise
            if held:
                await connection.restore(SAVEPOINT)
            else:
                await connection.rollback()
                await connection.begin()

            async def part(start: int, stop: int) -> None:
                await store(connection, Rows(rows.batch.part(start, stop), rows.source), taken)

            raise await locate(connection, len(rows.batch), part, error) from error

    async def _update(self, connection: Connection, rows: Rows, taken: Taken | None) -> None:
        if taken is None:
            raise Transient("update: the records are not rows of this database")
        layout = taken.place.layout
        if self._settings.table and layout.name != self._settings.table:
            raise Transient(
                f"table: the rows that were read are marked in '{layout.name}', not '{self._settings.table}'"
            )
        columns = {name: column for name, column in self._columns(rows, layout).items() if name not in taken.match}
        await taken.settle(connection, rows.batch.ids, columns=columns)

    async def _add(self, connection: Connection, rows: Rows, taken: Taken | None) -> None:
        layout = self._layout
        if layout is None:
            raise Transient("it is not connected")
        columns = self._columns(rows, layout)
        settings = self._settings
        match = settings.match or ((settings.id,) if settings.id else ())
        for name in match:
            if name not in columns:
                if taken is None or name not in taken.match:
                    raise Transient(f"match: neither the results nor the rows that were read have a column '{name}'")
                columns[name] = taken.found(rows.batch.ids)[name]
        if taken is not None:
            await taken.settle(connection, rows.batch.ids)
        if settings.mode == "insert":
            await self._dialect.insert(connection, layout, columns)
            return
        last = _last_of_each(match, columns)
        if last is not None:
            columns = {name: [column[i] for i in last] for name, column in columns.items()}
        try:
            await self._dialect.upsert(connection, layout, match, columns)
        except DataError as error:
            if last is not None and error.record >= 0:
                error.record = last[error.record]
            raise

    def _columns(self, rows: Rows, layout: Layout) -> dict[str, Sequence[Any]]:
        """What is written, by column."""
        batch, settings = rows.batch, self._settings
        columns: dict[str, Sequence[Any]] = {}
        if isinstance(batch.values, Table):
            columns = dict(zip(batch.values.names, batch.values.columns, strict=True))
        elif settings.value:
            columns[settings.value] = [_payload(value, layout.columns[settings.value].kind) for value in batch.values]
        else:
            raise Transient("value: the records have no columns; use encode: {format: columns}, or name a column here")
        if settings.id and settings.mode != "update":
            columns[settings.id] = batch.ids
        if settings.key:
            columns[settings.key] = batch.keys or [None] * len(batch)
        for name in columns:
            layout.column(name, "encode")
        return columns

    async def _bury(self, connection: Connection, dead: Sequence[DeadLetter], taken: Taken | None) -> None:
        ids = [letter.message.id for letter in dead]
        try:
            if taken is not None:
                reason = taken.place.status.reason
                reasons = {reason: [letter.reason for letter in dead]} if reason else {}
                await taken.settle(connection, ids, failed=True, columns=reasons)
            if self._letters is not None:
                columns = _letters(self._pipeline, {letter.message.id: letter for letter in dead}.values())
                await self._dialect.upsert(connection, self._letters, ("pipeline", "id"), columns)
        except DataError as error:
            # Never lost: it waits until the table takes it.
            raise Transient(f"dead_letters: a dead letter is refused: {error.message}") from error

    def _connected(self) -> Pool:
        if self._pool is None:
            raise Transient("it is not connected")
        return self._pool

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None


def _check(settings: OutputSettings) -> None:
    """What settings cannot mean together. Raises InvalidArgument."""
    if settings.mode != "update" and not settings.table:
        raise InvalidArgument("table: expected the table that results are written to")
    if settings.mode == "results" and not (settings.match or settings.id):
        raise InvalidArgument("match: results replace each other by `id` or `match`; name the unique column, or insert")
    if settings.mark_failed and settings.dead_letters:
        raise InvalidArgument("mark_failed: dead letters go to the table dead_letters already")
    if settings.mode == "update" and settings.positions:
        raise InvalidArgument("positions: an update belongs to rows that were read, which need no position")


def _last_of_each(match: Sequence[str], columns: Columns) -> list[int] | None:
    """A statement cannot write a row twice: the last one of a batch counts. None: no row is there twice."""
    keys = list(zip(*(columns[name] for name in match), strict=True))
    last = {key: at for at, key in enumerate(keys)}
    return None if len(last) == len(keys) else sorted(last.values())


def _payload(value: bytes | None, kind: Kind) -> Any:
    """As text where the column is text. Bytes that are no text are at fault."""
    return value if value is None or kind is Kind.BYTES else value.decode(errors="surrogateescape")


def _letters(pipeline: str, dead: Collection[DeadLetter]) -> dict[str, Sequence[Any]]:
    """What is only read by people is cut to what every database's columns hold."""
    return {
        "pipeline": [pipeline] * len(dead),
        "id": [letter.message.id for letter in dead],
        "reason": [letter.reason.replace("\0", "")[:10_000] for letter in dead],
        "value": [letter.message.value for letter in dead],
        "key": [letter.message.key for letter in dead],
        "headers": [_headers(letter) for letter in dead],
        "lane": [letter.lane[:500] for letter in dead],
        "position": [letter.position for letter in dead],
        "attempts": [letter.attempts for letter in dead],
        "model": [letter.model[:500] for letter in dead],
        "timestamp": [letter.message.timestamp for letter in dead],
    }


def _headers(letter: DeadLetter) -> str | None:
    """A list of name and value, the value in base64."""
    if not letter.message.headers:
        return None
    return json.dumps([[name, base64.b64encode(value).decode()] for name, value in letter.message.headers])
