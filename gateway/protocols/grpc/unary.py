"""Calls with one message and one reply: inference, which needs no task, and all the others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from gateway.core.errors import DeadlineExceeded, Internal, InvalidArgument, SluiceError, Unsupported
from gateway.protocols.grpc.exchange import Call
from gateway.protocols.grpc.head import Head
from gateway.protocols.grpc.infer import InferCall, Inference, Terms
from gateway.protocols.http2.connection import Connection

if TYPE_CHECKING:
    from gateway.protocols.grpc.server import CallService

logger = logging.getLogger("sluice.protocols")

Handler = Callable[[bytes, "Unary"], Awaitable[bytes]]


class OneMessage(Call):
    """Waits until the caller has said everything: that it was one message."""

    __slots__ = ("_body",)

    def __init__(self, service: CallService, connection: Connection, number: int, head: Head, limit: int) -> None:
        super().__init__(service, connection, number, head, limit)
        self._body: bytes | None = None

    def on_message(self, body: bytes) -> None:
        if self._body is not None:
            self.fail(Unsupported("the call has more than one message, expected one"))
        self._body = body

    def on_complete(self) -> None:
        body, self._body = self._body, b""
        if body is None:
            self.fail(Unsupported("the call has no message, expected one"))
        else:
            self.run(body)

    def run(self, body: bytes) -> None:
        raise NotImplementedError


class Infer(OneMessage):
    """ModelInfer. Where the model runs inline, the reply goes out with the turn of the loop that brought the call."""

    __slots__ = ("_call", "_inference", "_terms")

    def __init__(
        self, service: CallService, connection: Connection, number: int, head: Head, inference: Inference, terms: Terms
    ) -> None:
        super().__init__(service, connection, number, head, inference.limits.message_bytes)
        self._inference = inference
        self._terms = terms
        self._call: InferCall | None = None

    def run(self, body: bytes) -> None:
        timeout = self.head.timeout
        deadline = 0.0 if timeout is None else time.monotonic() + timeout
        self._call = InferCall(self._inference, self._terms, self._told, deadline)
        self._call.start(body)

    def _told(self, call: InferCall) -> None:
        self._call = None
        if call.error is not None:
            self.fail(call.error)
        else:
            self.reply(call.reply or b"", last=True)

    def on_over(self) -> None:
        if self._call is not None:
            self._call.cancel()


class Unary(OneMessage):
    """Any other call: a handler awaits what it must."""

    __slots__ = ("_handler", "_task")

    def __init__(
        self, service: CallService, connection: Connection, number: int, head: Head, limit: int, handler: Handler
    ) -> None:
        super().__init__(service, connection, number, head, limit)
        self._handler: Final = handler
        self._task: asyncio.Task[None] | None = None

    def run(self, body: bytes) -> None:
        self._task = self.service.spawn(self._answer(body))

    async def _answer(self, body: bytes) -> None:
        try:
            async with asyncio.timeout(self.head.timeout):
                reply = await self._handler(body, self)
        except TimeoutError:
            self.fail(DeadlineExceeded("the deadline is over"))
        except SluiceError as error:
            self.fail(error)
        except DecodeError as error:
            self.fail(InvalidArgument(f"failed to parse the request: {error}"))
        except Exception as error:
            logger.error("%s failed", self.head.path, exc_info=error)
            self.fail(Internal("internal error; the server's log has the reason"))
        else:
            self.reply(reply, last=True)

    def on_over(self) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
