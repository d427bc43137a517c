"""A stream as an output: results, and the acknowledgement of what they answer, in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.redis.held import DONE, LETTER, RESULT, Held
from adapters.redis.link import Link
from adapters.redis.settings import RedisInput, RedisOutput
from gateway.core import letter
from gateway.core.stream import Ability, Batch, Context, DataError, DeadLetter, Rows, Sink, Transient

#: fields of an entry that Lua can pass on to XADD
_FIELDS: Final = 3500


class RedisSink:
    """An Output. Results of entries of the same server are written, and these acknowledged, by one script."""

    def __init__(self, settings: RedisOutput, context: Context, *, named: bool = True) -> None:
        """named: entries get the fields `id` and `key` of the record that they answer"""
        self._link: Final = Link(settings)
        self._settings: Final = settings
        self._named: Final = named

    @property
    def sink(self) -> Sink:
        given, able = self._settings, frozenset({Ability.TRANSACTIONAL, Ability.PLAIN})
        place = f"redis://{self._link.place}"
        return Sink(self._link.name, able, place, given.fsync, bool(given.dead_letters))

    async def connect(self) -> None:
        client = await self._link.renew()
        if self._settings.fsync:
            with self._link.doing("asking for the persistence of"):
                found = await client.config_get("append*")
            if (found.get("appendonly"), found.get("appendfsync")) != ("yes", "always"):
                told = ", ".join(f"{name} {found.get(name)}" for name in ("appendonly", "appendfsync"))
                raise Transient(
                    f"{self._link.name}: `fsync` is demanded, which needs appendonly yes, appendfsync always;"
                    f" {self._link.place} has {told}"
                )

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        given, held = self._settings, rows.source.position
        if not isinstance(held, Held) or held.place != self._link.place:
            held = Held(self._link.place, given.stream, "", "", ())
        left = dict(held.ids)
        words: list[Any] = []
        limit = ("MAXLEN", "~", given.maxlen) if given.maxlen else ()
        for row, name in enumerate(rows.batch.ids):
            words += _words(name, left, RESULT, [*limit, "*", *self._fields(rows.batch, row)])
        for found in dead:
            words += _words(found.message.id, left, LETTER, ["*", given.body, letter.encode(found)])
        for name in left:
            words += (name, DONE, 0)
        with self._link.doing("writing to"):
            await held.settle(self._link.client, words, given.stream, given.dead_letters)
        held.settled = True

    def _fields(self, batch: Batch, row: int) -> list[Any]:
        """Raises DataError for what a server would not take."""
        message, most = batch[row], self._settings.record_bytes
        own = {self._settings.body: message.value}
        if self._named:
            own |= {"id": message.id.encode(), "key": message.key}
        found = [pair for pair in message.headers if pair[0] not in own]
        found += [(name, value) for name, value in own.items() if value is not None]
        if len(found) > _FIELDS:
            raise DataError(f"it has {len(found)} fields, expected at most {_FIELDS}", row)
        if any(len(value) > most for _, value in found):
            raise DataError(f"it has {max(len(value) for _, value in found)} bytes, record_bytes is {most}", row)
        return [part for pair in found for part in pair]

    async def close(self) -> None:
        await self._link.close()


def redrive(settings: RedisInput, context: Context) -> RedisSink:
    given = RedisOutput(
        url=settings.url, tls=settings.tls, timeout_seconds=settings.timeout_seconds, stream=settings.stream,
        body=settings.body,
    )  # fmt: skip
    return RedisSink(given, context, named=False)


def _words(name: str, left: dict[str, None], key: int, more: Sequence[Any]) -> list[Any]:
    """Of _SETTLE: what is written for a record, and, where it is one of those that are left, that it is done."""
    entry = name.rpartition("/")[2]
    if entry in left:
        del left[entry]
    else:
        entry = ""
    return [entry, key, len(more), *more]
