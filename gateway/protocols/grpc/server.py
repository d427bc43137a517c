"""The engine: grpcio's aio server. It carries bytes; what they mean is the other modules' of this folder.

Handlers take and give bytes: grpcio's own (de)serializers would turn a message that cannot be read into an internal
error. Channel arguments: https://grpc.github.io/grpc/core/group__grpc__arg__keys.html
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

# the engine's own log says nothing that a status does not, and anybody who connects can make it write
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from google.protobuf.message import DecodeError
from grpc.aio import ServicerContext

from gateway import pb
from gateway.core.errors import Internal, InvalidArgument, SluiceError, TooLarge, Unavailable
from gateway.protocols.bearer import presented
from gateway.protocols.grpc import health, reflection, service
from gateway.protocols.grpc.health import Health
from gateway.protocols.grpc.infer import Inference, Terms
from gateway.protocols.grpc.reflection import Reflection
from gateway.protocols.grpc.service import Caller, InferenceService, Method
from gateway.protocols.grpc.status import details_of, status_of, trailers_of
from gateway.protocols.grpc.stream import Conversation

logger = logging.getLogger("sluice.protocols")

#: calls of one connection in flight; further ones wait at the client
STREAMS: Final = 1024

_CODE: Final = {code.value[0]: code for code in grpc.StatusCode}
_COMPRESSION: Final = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}

Bytes = bytes
Context = ServicerContext[Bytes, Bytes]
Unary = Callable[[bytes, Context], Awaitable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Sizes in bytes, times in seconds; `max_connection_age` and its grace: 0 for no limit.

    message_bytes   of a message, decompressed
    call_bytes      of a message that is neither inference nor a load call
    load_bytes      of a load call
    compression     "none", "gzip", "deflate": of replies of at least `min_compressed` bytes
    reuse_port      another process may listen on the same port
    """

    message_bytes: int = 64 << 20
    call_bytes: int = 8 << 20
    load_bytes: int = 8 << 20
    header_bytes: int = 32 << 10
    handshake_timeout: float = 10.0
    connections: int = 8192
    keepalive_time: float = 60.0
    keepalive_timeout: float = 20.0
    min_ping_interval: float = 10.0
    max_connection_age: float = 0.0
    max_connection_age_grace: float = 30.0
    compression: str = "none"
    min_compressed: int = 1024
    reuse_port: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """PEM: the server's key and certificate, and who may sign those that clients must have; None for all clients."""

    key: bytes
    cert: bytes
    client_ca: bytes | None = None


class GrpcServer:
    """Constructed on the event loop. `bind`, then `start`, then `stop`."""

    def __init__(
        self,
        inference: Inference,
        calls: InferenceService,
        ready: Callable[[], bool],
        options: Options,
        identity: Identity | None = None,
        drain_timeout: float = 30.0,
    ) -> None:
        services = (service.SERVICE, health.SERVICE)
        self.inference = inference
        self.port = 0
        self.health = Health(ready, services)
        self._reflection = Reflection(services)
        self._options = options
        self._identity = identity
        self._drain_timeout = drain_timeout
        self._conversations: dict[Conversation, asyncio.Task[Any]] = {}
        self._stopping = False
        self._server = grpc.aio.server(options=_arguments(options))
        self._server.add_generic_rpc_handlers((_Handlers(self._handlers(calls)),))

    def bind(self, host: str, port: int) -> int:
        """Returns the port, which `port` tells from then on. Raises Unavailable in one line where it cannot be had."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._identity is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, _credentials(self._identity))
        except RuntimeError as error:
            raise Unavailable(f"cannot listen on {host}:{port} for gRPC: the address is in use or not ours") from error
        return self.port

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        """Sends clients away, lets what is in flight end within the drain time-out, then cuts.

        A stream that has nothing in flight is ended at once: its client may never say another word.
        """
        self._stopping = True
        self.health.close()
        for conversation, task in self._conversations.items():
            if conversation.idle:
                task.cancel()
        await self._server.stop(self._drain_timeout)

    # ---- inference

    def _unary(self) -> Unary:
        begin = self.inference.begin
        compression = _COMPRESSION.get(self._options.compression)
        smallest = self._options.min_compressed
        told = self.inference.access_log

        async def infer(body: bytes, context: Context) -> bytes:
            terms = Terms(context.invocation_metadata(), context.time_remaining(), context.peer() if told else "")  # type: ignore[arg-type]
            call = begin(body, terms)
            if not call.settled:
                await call.wait()
            if call.error is not None:
                await _abort(context, call.error)
            reply: bytes = call.reply  # type: ignore[assignment]
            if compression is not None and len(reply) >= smallest:
                context.set_compression(compression)
            return reply

        return infer

    async def _stream(self, requests: AsyncIterator[bytes], context: Context) -> None:
        terms = Terms(context.invocation_metadata(), context.time_remaining(), context.peer())  # type: ignore[arg-type]
        conversation = Conversation(self.inference, terms, self._writer(context))
        task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]  # a handler runs in one
        self._conversations[conversation] = task
        try:
            await conversation.run(requests)
        except SluiceError as error:
            await _abort(context, error)
        except asyncio.CancelledError:
            if not (self._stopping and conversation.idle):
                raise
            task.uncancel()
            await _abort(context, Unavailable("the server is shutting down", retry_after=1.0))
        finally:
            del self._conversations[conversation]

    def _writer(self, context: Context) -> Callable[[bytes], Awaitable[None]]:
        compression = _COMPRESSION.get(self._options.compression)
        if compression is None:
            return context.write
        context.set_compression(compression)
        smallest = self._options.min_compressed

        async def write(reply: bytes) -> None:
            if len(reply) < smallest:
                context.disable_next_message_compression()
            await context.write(reply)

        return write

    # ---- all else

    def _handlers(self, calls: InferenceService) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """By the path of the call."""
        known = pb.service(service.SERVICE).methods_by_name
        options = self._options
        found: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self._unary()),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._stream),
        }
        for name, method in calls.methods().items():
            limit = options.load_bytes if name == "RepositoryModelLoad" else options.call_bytes
            found[name] = grpc.unary_unary_rpc_method_handler(_called(method, known[name], limit))
        reflecting: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(self._reflect)
        return {
            **{f"/{service.SERVICE}/{name}": handler for name, handler in found.items()},
            f"/{health.SERVICE}/Check": grpc.unary_unary_rpc_method_handler(self._check),
            f"/{health.SERVICE}/Watch": grpc.unary_stream_rpc_method_handler(self._watch),
            f"/{reflection.SERVICE}/ServerReflectionInfo": reflecting,
            f"/{reflection.OLDER}/ServerReflectionInfo": reflecting,
        }

    async def _check(self, body: bytes, context: Context) -> bytes:
        try:
            return self.health.check(body)
        except (SluiceError, DecodeError) as error:
            return await _abort(context, _read(error))

    async def _watch(self, body: bytes, context: Context) -> None:
        try:
            async for reply in self.health.watch(body):
                await context.write(reply)
        except DecodeError as error:
            await _abort(context, _read(error))

    async def _reflect(self, requests: AsyncIterator[bytes], context: Context) -> None:
        try:
            async for body in requests:
                await context.write(self._reflection.answer(body))
        except DecodeError as error:
            await _abort(context, _read(error))


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg,unused-ignore]
    def __init__(self, handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._handlers.get(handler_call_details.method)


def _called(method: Method, descriptor: Any, limit: int) -> Unary:
    """A method on messages as one on bytes."""
    request_type = pb.message(descriptor.input_type.name)
    response_type = pb.message(descriptor.output_type.name)

    async def call(body: bytes, context: Context) -> bytes:
        try:
            if len(body) > limit:
                raise TooLarge(f"the message has {len(body)} bytes, the limit is {limit}")
            fields = await method(request_type.FromString(body), _caller(context))
            reply: bytes = response_type(**fields).SerializeToString()
        except (SluiceError, DecodeError) as error:
            failure = _read(error)
        except Exception as error:
            logger.error("%s failed", descriptor.name, exc_info=error)
            failure = Internal("internal error; the server's log has the reason")
        else:
            return reply
        return await _abort(context, failure)

    return call


def _caller(context: Context) -> Caller:
    metadata = context.invocation_metadata() or ()
    fields = ((name.encode(), value.encode() if isinstance(value, str) else value) for name, value in metadata)
    return Caller(presented(fields), f"grpc {context.peer()}")


def _read(error: Exception) -> SluiceError:
    return error if isinstance(error, SluiceError) else InvalidArgument(f"failed to parse the request: {error}")


async def _abort(context: Context, error: SluiceError) -> NoReturn:
    await context.abort(_CODE[status_of(error)], details_of(error), trailers_of(error))
    raise AssertionError("abort raises")


def _arguments(options: Options) -> list[tuple[str, int]]:
    arguments = [
        ("grpc.so_reuseport", int(options.reuse_port)),
        ("grpc.max_receive_message_length", max(options.message_bytes, options.call_bytes, options.load_bytes)),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", options.header_bytes),
        ("grpc.absolute_max_metadata_size", options.header_bytes),
        ("grpc.max_concurrent_streams", STREAMS),
        ("grpc.max_allowed_incoming_connections", options.connections),
        ("grpc.server_handshake_timeout_ms", _ms(options.handshake_timeout)),
        ("grpc.keepalive_time_ms", _ms(options.keepalive_time)),
        ("grpc.keepalive_timeout_ms", _ms(options.keepalive_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(options.min_ping_interval)),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _ms(options.min_ping_interval)),
    ]
    if options.max_connection_age:
        arguments.append(("grpc.max_connection_age_ms", _ms(options.max_connection_age)))
        if options.max_connection_age_grace:
            arguments.append(("grpc.max_connection_age_grace_ms", _ms(options.max_connection_age_grace)))
    return arguments


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _credentials(identity: Identity) -> grpc.ServerCredentials:
    pair = (identity.key, identity.cert)
    return grpc.ssl_server_credentials([pair], identity.client_ca, identity.client_ca is not None)
