"""Where a contract kit meets a system. An adapter brings a stand, and its fixture into conftest.py; that is all.

A record of the kits is a number n: the value ``{"n": 7}``, or a row with a column ``n``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar

from gateway.core.stream import Batch, Credit, Input, Message, Output, PositionStore, Rows, Token

T = TypeVar("T")

#: how long something may take that does happen
PATIENCE = 30.0
#: how long something is waited for that must not happen
MOMENT = 0.3


class InputStand(Protocol):
    """A system, and one empty place in it that is read: all records are of one lane."""

    async def put(self, numbers: Sequence[int]) -> None:
        """One record each, in this order, behind what is there."""
        ...

    def open(self, positions: PositionStore | None = None) -> Input:
        """A connector of always the same pipeline, as a process that was started again has it; not connected."""
        ...


class OutputStand(Protocol):
    """A system, and one empty place in it that is written."""

    def open(self) -> Output:
        """A connector of always the same pipeline, not connected."""
        ...

    async def source(self) -> Token:
        """Of the lane whose records the kit answers, for an output that looks at it: one that it can store, or whose
        transaction it shares, each a position further than the one before."""
        ...

    async def numbers(self) -> list[int]:
        """What is durable there, in the order in which it was written."""
        ...

    async def letters(self) -> list[str]:
        """Ids of the dead letters that it keeps itself, if it does."""
        ...


InputStands = Callable[[], AbstractAsyncContextManager[InputStand]]
OutputStands = Callable[[], AbstractAsyncContextManager[OutputStand]]


def values(numbers: Sequence[int]) -> list[bytes]:
    return [json.dumps({"n": number}).encode() for number in numbers]


def numbers_of(batch: Batch) -> list[int]:
    return [int(json.loads(value or b"{}")["n"]) for value in batch.values]


def rows(numbers: Sequence[int], source: Token) -> Rows:
    """Results as a pipeline writes them, with ids that say which record each one answers."""
    messages = [
        Message(f"id-{number}", value, f"k{number % 3}".encode(), (("sluice-version", b"1"),), 1_700_000_000_000)
        for number, value in zip(numbers, values(numbers), strict=True)
    ]
    return Rows(Batch.of(messages), source)


@asynccontextmanager
async def connected(connector: Any) -> AsyncIterator[Any]:
    try:
        async with asyncio.timeout(PATIENCE):
            await connector.connect()
        yield connector
    finally:
        async with asyncio.timeout(PATIENCE):
            await connector.close()


class Reader:
    """Reads as a runner does: what came, and the tokens that stand for it."""

    def __init__(self, connector: Input) -> None:
        self._input = connector
        self.tokens: list[Token] = []
        self.ids: list[str] = []

    async def next(self, rows: int = 1000, nbytes: int = 1 << 26) -> list[int]:
        async with asyncio.timeout(PATIENCE):
            found = await self._input.read(Credit(rows, nbytes))
        assert found is not None
        batch, token = found
        assert len(batch) <= rows
        assert len(batch.ids) == len(batch.values)
        for column in (batch.keys, batch.headers, batch.timestamps):
            assert len(column) in (0, len(batch))
        self.tokens.append(token)
        self.ids.extend(batch.ids)
        return numbers_of(batch)

    async def all(self, count: int, rows: int = 1000) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            found += await self.next(min(rows, count - len(found)))
        return found

    async def nothing(self) -> None:
        """No record comes, and waiting for one in vain loses none."""
        waiting = asyncio.ensure_future(self._input.read(Credit(1000, 1 << 26)))
        done, _ = await asyncio.wait({waiting}, timeout=MOMENT)
        if done and (found := waiting.result()) is not None:
            assert not numbers_of(found[0])
        await cancelled(waiting)

    async def ack_all(self) -> None:
        async with asyncio.timeout(PATIENCE):
            for token in self.tokens:
                await self._input.ack(token)
        self.tokens.clear()


async def cancelled(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def run(test: Callable[[], Awaitable[T]]) -> T:
    async def whole() -> T:
        async with asyncio.timeout(4 * PATIENCE):
            return await test()

    return asyncio.run(whole())
