"""Queue to queue, as the runner does it: reconnects, and acknowledges what is confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from adapters.rabbitmq import RabbitInput, RabbitOutput, RabbitSink, RabbitSource
from gateway.core.stream import Batch, Context, Credit, DataError, Fenced, Rows, Token, Transient

WIDE = Credit(1000, 1 << 26)
CONTEXT = Context("p")
FROM = Token("lane", 1, 1)
Score = Callable[[bytes], bytes]


def source(url: Any, queue: str, **settings: Any) -> RabbitSource:
    return RabbitSource(RabbitInput(url=url, queue=queue, **settings), CONTEXT)


def sink(url: Any, queue: str = "", **settings: Any) -> RabbitSink:
    return RabbitSink(RabbitOutput(url=url, routing_key=queue, **settings), CONTEXT)


@asynccontextmanager
async def connected(connector: Any) -> AsyncIterator[Any]:
    async with asyncio.timeout(30):
        await connector.connect()
    try:
        yield connector
    finally:
        await connector.close()


def rows(*values: bytes, headers: Sequence[Any] = (), names: Sequence[str] = ()) -> Rows:
    return Rows(Batch(names or [f"id-{n}" for n in range(len(values))], values, headers=headers), FROM)


class Copy:
    """`done` are values that were acknowledged, `troubles` what went wrong, `refused` ids that the output blamed."""

    def __init__(self, inp: RabbitSource, out: RabbitSink, credit: Credit = WIDE) -> None:
        self.inp, self.out, self.credit = inp, out, credit
        self.troubles: list[str] = []
        self.refused: list[str] = []
        self.done: set[bytes] = set()

    async def run(self) -> None:
        while True:
            try:
                await self.out.connect()
                await self.inp.connect()
                while (read := await self.inp.read(self.credit)) is not None:
                    batch, token = read
                    await self._write(batch, token)
                    await self.inp.ack(token)
                    self.done.update(value for value in batch.values if value is not None)
            except (Transient, Fenced) as error:
                self.troubles.append(error.message)
                await asyncio.sleep(0.05)

    async def _write(self, batch: Batch, token: Any) -> None:
        while len(batch):
            try:
                await self.out.write(Rows(batch, token))
            except DataError as error:
                self.refused.append(batch.ids[error.record])
                batch = batch.take([at for at in range(len(batch)) if at != error.record])
            else:
                return


@asynccontextmanager
async def running(copy: Copy) -> AsyncIterator[Copy]:
    task = asyncio.create_task(copy.run())
    try:
        yield copy
    except AssertionError as found:
        if task.done() and not task.cancelled() and (error := task.exception()):
            raise error from found
        raise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await copy.inp.close()
        await copy.out.close()
    if not task.cancelled() and (error := task.exception()):
        raise error


async def until(check: Callable[[], bool], copy: Copy | None = None, seconds: float = 60.0) -> None:
    """Of what the event loop or another process does. Says how far `copy` is where it does not happen."""
    try:
        async with asyncio.timeout(seconds):
            while not check():  # noqa: ASYNC110 - the other side sends no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        if copy is None:
            raise
        raise AssertionError(f"{len(copy.done)} are done; the last troubles: {copy.troubles[-5:]}") from None
