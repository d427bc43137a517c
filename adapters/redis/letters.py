"""Dead letters read back."""

from __future__ import annotations

from typing import Final

from adapters.redis.link import Link
from adapters.redis.settings import RedisOutput
from gateway.core.stream import Batch, Context, Credit, Source, Token


class RedisLetters:
    """An Input of the dead letters that are there when it is connected first. Acknowledging deletes them."""

    def __init__(self, settings: RedisOutput, context: Context, kept: bool) -> None:
        self._stream: Final = settings.dead_letters if kept else settings.stream
        self._body: Final = settings.body.encode()
        self._link: Final = Link(settings)
        self._after, self._last = "-", ""
        self.source: Final = Source(f"Redis stream '{self._stream}'", stable_ids=True, ordered=True)

    async def connect(self) -> None:
        client = await self._link.renew()
        with self._link.doing("looking for dead letters of"):
            newest = await client.xrevrange(self._stream, count=1)
        self._after, self._last = "-", self._last or (newest[0][0].decode() if newest else "0-0")

    async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
        with self._link.doing("reading dead letters of"):
            found = await self._link.client.xrange(self._stream, self._after, self._last, min(credit.rows, 100))
        if not found:
            return None
        ids = [name.decode() for name, _ in found]
        self._after = f"({ids[-1]}"
        return Batch(ids, [fields.get(self._body) for _, fields in found]), Token(self._stream, 0, ids)

    async def ack(self, token: Token) -> None:
        with self._link.doing("deleting dead letters of"):
            await self._link.client.xdel(self._stream, *token.position)

    async def close(self) -> None:
        await self._link.close()
