"""ModelStreamInfer: requests in, replies out in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from gateway.protocols.grpc.infer import InferCall, Inference, Terms

Write = Callable[[bytes], Awaitable[None]]


class Conversation:
    """One stream. A reply that is there when its request was read is written at once, by who read it; the others are
    written by a task of their own, which is there as long as one waits. So requests that queue can be merged, and the
    stream of an inline model costs no task.
    """

    def __init__(self, inference: Inference, terms: Terms, write: Write) -> None:
        self._inference = inference
        self._terms = terms
        self._write = write
        #: in the order of their requests; the first is the one whose reply is due
        self._pending: deque[InferCall] = deque()
        self._room = asyncio.Event()
        #: nothing is read and nothing is due
        self.idle = True

    async def run(self, requests: AsyncIterator[bytes]) -> None:
        """Until the client has said everything and got its replies.

        Raises the SluiceError that ends it, where the client asked for errors to be raised.
        """
        inference, terms, pending, write = self._inference, self._terms, self._pending, self._write
        inference.streams += 1
        try:
            async with asyncio.TaskGroup() as group:
                async for body in requests:
                    self.idle = False
                    call = InferCall(inference, terms, streamed=True)
                    call.start(body)
                    if not pending and call.error is None and call.reply is not None:
                        await write(call.reply)
                        self.idle = True
                        continue
                    await self._take(call, group)
                    self.idle = not pending
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            inference.streams -= 1
            for call in pending:
                call.cancel()

    async def _take(self, call: InferCall, group: asyncio.TaskGroup) -> None:
        pending = self._pending
        if not pending and call.settled:
            await self._send(call)
            return
        pending.append(call)
        if len(pending) == 1:
            group.create_task(self._drain())
        while len(pending) >= self._inference.limits.in_flight:
            self._room.clear()
            await self._room.wait()

    async def _drain(self) -> None:
        pending = self._pending
        while pending:
            await pending[0].wait()
            await self._send(pending[0])
            pending.popleft()
            self._room.set()
        self.idle = True

    async def _send(self, call: InferCall) -> None:
        if call.error is not None and self._terms.raises:
            raise call.error
        await self._write(call.reply)  # type: ignore[arg-type]  # settled
