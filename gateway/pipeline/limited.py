"""An input that ends after some records: for putting back so many dead letters, and for looking at so many records."""

from __future__ import annotations

from typing import Final

from gateway.core.stream import Batch, Credit, Input, Source, Token


class Limited:
    """An Input around an Input."""

    def __init__(self, inner: Input, limit: int) -> None:
        self._inner: Final = inner
        self._left = limit

    @property
    def source(self) -> Source:
        return self._inner.source

    async def connect(self) -> None:
        await self._inner.connect()

    async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
        if self._left <= 0:
            return None
        found = await self._inner.read(Credit(min(credit.rows, self._left), credit.nbytes))
        if found is not None:
            self._left -= len(found[0])
        return found

    async def ack(self, token: Token) -> None:
        await self._inner.ack(token)

    async def close(self) -> None:
        await self._inner.close()
