"""The limit that gRPC is measured against: grpcio's aio server with handlers that answer a fixed reply, on bytes.

`python grpc_echo.py PORT REPLY STREAM_REPLY`, the replies being files. Paths: /raw/unary, /raw/stream.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import uvloop

REPLY, STREAM_REPLY = (Path(path).read_bytes() for path in sys.argv[2:])


async def unary(body: bytes, context: Any) -> bytes:
    return REPLY


async def stream(bodies: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for _ in bodies:
        yield STREAM_REPLY


HANDLERS = {
    "/raw/unary": grpc.unary_unary_rpc_method_handler(unary),
    "/raw/stream": grpc.stream_stream_rpc_method_handler(stream),
}


class Handlers(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return HANDLERS.get(handler_call_details.method)


async def main() -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handlers(),))
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main())
