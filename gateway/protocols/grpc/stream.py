"""Calls with many messages: ModelStreamInfer, the watch of the health service, reflection."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from gateway.core.errors import DeadlineExceeded, InvalidArgument, Unavailable
from gateway.protocols.grpc.exchange import Call
from gateway.protocols.grpc.head import Head
from gateway.protocols.grpc.health import Health
from gateway.protocols.grpc.infer import InferCall, Inference, Terms
from gateway.protocols.grpc.reflection import Reflection
from gateway.protocols.grpc.unary import OneMessage
from gateway.protocols.http2.connection import Connection

if TYPE_CHECKING:
    from gateway.protocols.grpc.server import CallService


class InferStream(Call):
    """ModelStreamInfer: requests in, replies out in their order. Requests that queue can be merged."""

    patient = True

    __slots__ = ("_deadline", "_inference", "_pending", "_terms", "_timer")

    def __init__(
        self, service: CallService, connection: Connection, number: int, head: Head, inference: Inference, terms: Terms
    ) -> None:
        super().__init__(service, connection, number, head, inference.limits.message_bytes)
        self._inference = inference
        self._terms = terms
        #: in the order of their requests; the first is the one whose reply is due
        self._pending: deque[InferCall] = deque()
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        if head.timeout is not None:
            self._deadline = time.monotonic() + head.timeout
            self._timer = connection.loop.call_later(head.timeout, self._expire)
        inference.streams += 1

    @property
    def idle(self) -> bool:
        """Nothing is due, and no message has begun."""
        return not self._pending and not self._have and not self._busy

    def takes(self) -> bool:
        return len(self._pending) < self._inference.limits.in_flight and self._waiting is None

    def on_message(self, body: bytes) -> None:
        call = InferCall(self._inference, self._terms, self._told, self._deadline, streamed=True)
        self._pending.append(call)
        call.start(body)

    def on_complete(self) -> None:
        if not self._pending:
            self.finish()

    def on_room(self) -> None:
        if not self.over:
            self.go_on()

    def _told(self, _: InferCall) -> None:
        pending = self._pending
        full = not self.takes()
        while pending and (first := pending[0]).settled:
            pending.popleft()
            if first.error is not None and self._terms.raises:
                self.fail(first.error)
                return
            self.reply(first.reply or b"")
        if full and not self.over and self.takes():
            self.go_on()
        if self.ended and not pending and not self._have and not self._busy:
            self.finish()

    def leave(self) -> None:
        """The server stops: a stream that has nothing in flight ends, since its client may never say another word."""
        if self.idle:
            self.fail(Unavailable("the server is shutting down", retry_after=1.0))

    def on_over(self) -> None:
        self._inference.streams -= 1
        if self._timer is not None:
            self._timer.cancel()
        for call in self._pending:
            call.cancel()

    def _expire(self) -> None:
        self.fail(DeadlineExceeded("the stream's deadline is over"))


class Watch(OneMessage):
    """grpc.health.v1.Health/Watch: the state, and again whenever it changes."""

    __slots__ = ("_health", "_room", "_task")

    def __init__(
        self, service: CallService, connection: Connection, number: int, head: Head, limit: int, health: Health
    ) -> None:
        super().__init__(service, connection, number, head, limit)
        self._health = health
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None

    def run(self, body: bytes) -> None:
        self._task = self.service.spawn(self._tell(body))

    async def _tell(self, body: bytes) -> None:
        try:
            async with asyncio.timeout(self.head.timeout):
                async for reply in self._health.watch(body):
                    self.reply(reply)
                    # who does not read learns the newest state later, and not those between
                    while self.waits:
                        self._room = asyncio.get_running_loop().create_future()
                        await self._room
        except TimeoutError:
            self.fail(DeadlineExceeded("the deadline is over"))
        except DecodeError as error:
            self.fail(InvalidArgument(f"failed to parse the request: {error}"))
        else:
            self.finish()

    def on_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def on_over(self) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()


class Reflect(Call):
    """ServerReflectionInfo: a question, an answer."""

    patient = True

    __slots__ = ("_reflection",)

    def __init__(
        self, service: CallService, connection: Connection, number: int, head: Head, limit: int, reflection: Reflection
    ) -> None:
        super().__init__(service, connection, number, head, limit)
        self._reflection = reflection

    def takes(self) -> bool:
        return self._waiting is None

    def on_message(self, body: bytes) -> None:
        try:
            self.reply(self._reflection.answer(body))
        except DecodeError as error:
            self.fail(InvalidArgument(f"failed to parse the request: {error}"))

    def on_complete(self) -> None:
        self.finish()

    def on_room(self) -> None:
        if not self.over:
            self.go_on()
