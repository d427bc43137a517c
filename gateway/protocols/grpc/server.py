"""What the paths of the gRPC port are, and the port itself: bytes in, bytes out, on the HTTP/2 wire."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from gateway import pb
from gateway.codecs.compression import THREADS
from gateway.core.errors import SluiceError, Unsupported
from gateway.protocols.grpc import health, reflection, service
from gateway.protocols.grpc.entrance import Entrance
from gateway.protocols.grpc.exchange import Call
from gateway.protocols.grpc.head import Head, read_head
from gateway.protocols.grpc.health import Health
from gateway.protocols.grpc.infer import Inference, Terms
from gateway.protocols.grpc.reflection import Reflection
from gateway.protocols.grpc.service import InferenceService, Method
from gateway.protocols.grpc.stream import InferStream, Reflect, Watch
from gateway.protocols.grpc.unary import Handler, Infer, Unary
from gateway.protocols.http2.connection import Connection
from gateway.protocols.http2.headers import Field
from gateway.protocols.http2.port import Port
from gateway.protocols.http2.service import Limits, Service
from gateway.protocols.http2.stream import Stream
from gateway.protocols.oip.access import FREE, INFER, READ, Need
from gateway.security.refusal import UnknownKey

logger = logging.getLogger("sluice.protocols")

Open = Callable[[Connection, int, Head], Call]


class Way(NamedTuple):
    """Where a path leads, and what it needs of who calls."""

    need: Need
    open: Open


_INFER: Final = f"/{service.SERVICE}/ModelInfer"
_STREAM: Final = f"/{service.SERVICE}/ModelStreamInfer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Sizes in bytes, times in seconds.

    call_bytes   of a message that is neither inference nor a load call
    load_bytes   of a load call
    held_bytes   of messages that are not complete, over all connections
    coding       b"", b"gzip" or b"deflate": of replies of at least `min_compressed` bytes, to who takes it
    """

    call_bytes: int = 8 << 20
    load_bytes: int = 8 << 20
    held_bytes: int = 1 << 30
    coding: bytes = b""
    min_compressed: int = 1024
    drain_timeout: float = 30.0
    wire: Limits = field(default_factory=Limits)


class CallService(Service[Head]):
    """Heads to calls."""

    def __init__(
        self,
        inference: Inference,
        calls: InferenceService,
        health_: Health,
        entrance: Entrance,
        options: Options,
    ) -> None:
        super().__init__(options.wire)
        self.entrance = entrance
        self.coding = options.coding
        self.threads: Final = ThreadPoolExecutor(THREADS, thread_name_prefix="sluice-coding")
        self.min_compressed = options.min_compressed
        self.most_held = options.held_bytes
        #: bytes of messages that are not complete
        self.held = 0
        self._inference = inference
        self._options = options
        self._tasks: set[asyncio.Task[None]] = set()
        self._health = health_
        self._calls = self._by_path(calls)

    def head(self, fields: list[Field]) -> Head:
        return read_head(fields)

    def open(self, connection: Connection, number: int, head: Head) -> Stream:
        if head.refusal:
            stream: Stream = Refused(connection, number, head.refusal)
        else:
            stream = self._open(connection, number, head)
        stream.promised = head.length
        return stream

    def _open(self, connection: Connection, number: int, head: Head) -> Call:
        way = self._calls.get(head.path)
        if way is None:
            return Denied(self, connection, number, head, Unsupported(f"there is no method '{head.path}'"))
        try:
            self.entrance.look(way.need, connection, head)
        except UnknownKey as error:
            if error.looked is None:
                return Denied(self, connection, number, head, error)
            call = way.open(connection, number, head)
            call.hold(error.looked, lambda: self.entrance.look(way.need, connection, head))
            return call
        except SluiceError as error:
            return Denied(self, connection, number, head, error)
        return way.open(connection, number, head)

    def needs(self) -> dict[str, Need]:
        """By the path of the call: what its head has to say of who calls."""
        return {path: way.need for path, way in self._calls.items()}

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _by_path(self, calls: InferenceService) -> dict[str, Way]:
        known = pb.service(service.SERVICE).methods_by_name
        options, reflecting = self._options, Reflection((service.SERVICE, health.SERVICE))
        found = {_INFER: Way(INFER, self._open_infer), _STREAM: Way(INFER, self._open_stream)}
        for name, method in calls.methods().items():
            limit = options.load_bytes if name == "RepositoryModelLoad" else options.call_bytes
            handler = _handler(method, known[name], self.entrance)
            found[f"/{service.SERVICE}/{name}"] = Way(method.need, self._unary(handler, limit))
        found[f"/{health.SERVICE}/Check"] = Way(FREE, self._unary(self._check, options.call_bytes))
        found[f"/{health.SERVICE}/Watch"] = Way(
            FREE,
            lambda connection, number, head: Watch(self, connection, number, head, options.call_bytes, self._health),
        )
        for name in (reflection.SERVICE, reflection.OLDER):
            found[f"/{name}/ServerReflectionInfo"] = Way(
                READ,
                lambda connection, number, head: Reflect(
                    self, connection, number, head, options.call_bytes, reflecting
                ),
            )
        return found

    def _open_infer(self, connection: Connection, number: int, head: Head) -> Call:
        return Infer(self, connection, number, head, self._inference, self._terms_of(connection, head))

    def _open_stream(self, connection: Connection, number: int, head: Head) -> Call:
        return InferStream(self, connection, number, head, self._inference, self._terms_of(connection, head))

    def _terms_of(self, connection: Connection, head: Head) -> Terms:
        """Remembered with the head, which holds a place of the connection's memory of heads."""
        terms: Terms | None = head.terms
        if terms is None:
            credentials = self.entrance.credentials(connection, head)
            terms = head.terms = Terms(head.metadata, connection.peer, credentials)
        return terms

    def _unary(self, handler: Handler, limit: int) -> Open:
        return lambda connection, number, head: Unary(self, connection, number, head, limit, handler)

    async def _check(self, body: bytes, call: Unary) -> bytes:
        return self._health.check(body)


class Refused(Stream):
    """Not gRPC: the whole reply is known, and given once the request is over."""

    __slots__ = ("_reply", "_since")

    def __init__(self, connection: Connection, number: int, reply: bytes) -> None:
        super().__init__(connection, number)
        self._reply = reply
        self._since = connection.service.now

    def on_data(self, data: bytes) -> None:
        self.consumed(len(data))

    def on_end(self) -> None:
        self.send(b"", b"", self._reply)

    def on_lost(self) -> None:
        """It holds nothing."""

    def sweep(self, now: float) -> None:
        if now - self._since > self.connection.service.limits.patience:
            self.reset()


class Denied(Call):
    """A method that is not there, or not for this caller: the message need not be sent, and is not read."""

    __slots__ = ("_error",)

    def __init__(
        self, service: CallService, connection: Connection, number: int, head: Head, error: SluiceError
    ) -> None:
        super().__init__(service, connection, number, head, 0)
        self._error = error

    def on_begin(self) -> None:
        self.fail(self._error)

    def on_message(self, body: bytes) -> None:
        self.on_begin()

    def on_complete(self) -> None:
        self.on_begin()


class GrpcServer:
    """Constructed on the event loop. `start`, then `drain` once clients are to go elsewhere, then `stop`."""

    def __init__(
        self,
        inference: Inference,
        calls: InferenceService,
        ready: Callable[[], bool],
        entrance: Entrance,
        options: Options,
        listening: socket.socket,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.inference = inference
        self.health = Health(ready, (service.SERVICE, health.SERVICE))
        self.port = int(listening.getsockname()[1])
        self._service = CallService(inference, calls, self.health, entrance, options)
        self._port = Port(self._service, listening, tls)
        self._drain_timeout = options.drain_timeout

    async def start(self) -> None:
        await self._port.start()

    async def also(self, listening: socket.socket) -> asyncio.Server:
        """As `Port.also`."""
        return await self._port.also(listening)

    async def stop(self) -> None:
        """Sends clients away, lets what is in flight end within the drain time-out, then cuts."""
        self._port.stop_accepting()
        self.health.close()
        for connection in list(self._service.connections):
            for stream in list(connection.streams.values()):
                if isinstance(stream, InferStream):
                    stream.leave()
        await self._port.close(self._drain_timeout)


def _handler(method: Method, descriptor: Any, entrance: Entrance) -> Handler:
    """A method on messages as one on bytes."""
    request_type = pb.message(descriptor.input_type.name)
    response_type = pb.message(descriptor.output_type.name)

    async def call(body: bytes, call: Unary) -> bytes:
        request = request_type.FromString(body)
        need, model = method.needs(request)
        fields = await method.call(request, entrance.admit(need, model, call.connection, call.head))
        reply: bytes = response_type(**fields).SerializeToString()
        return reply

    return call
