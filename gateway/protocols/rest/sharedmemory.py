"""The shared memory extensions."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.protocols.oip.sharedmemory import SystemSharedMemory, no_cuda_region, refuse_cuda
from gateway.protocols.rest.body import empty, parse, read, reply, token

SYSTEM: Final = "/v2/systemsharedmemory"
CUDA: Final = "/v2/cudasharedmemory"


class Registration(Struct):
    key: str
    byte_size: int
    offset: int = 0


class SystemSharedMemoryRoutes:
    def __init__(self, memory: SystemSharedMemory, max_body: int) -> None:
        self._memory = memory
        self._max_body = max_body

    def routes(self) -> list[Route]:
        region = f"{SYSTEM}/region/{{region}}"
        return [
            Route(f"{SYSTEM}/status", self.status, methods=["GET"]),
            Route(f"{region}/status", self.status, methods=["GET"]),
            Route(f"{region}/register", self.register, methods=["POST"]),
            Route(f"{region}/unregister", self.unregister, methods=["POST"]),
            Route(f"{SYSTEM}/unregister", self.unregister, methods=["POST"]),
        ]

    async def status(self, request: Request) -> Response:
        found = self._memory.status(request.path_params.get("region", ""), token(request))
        return reply([status._asdict() for status in found])

    async def register(self, request: Request) -> Response:
        self._memory.check(token(request))
        asked = parse(await read(request, self._max_body), Registration)
        await self._memory.register(request.path_params["region"], asked.key, asked.offset, asked.byte_size)
        return empty()

    async def unregister(self, request: Request) -> Response:
        await self._memory.unregister(request.path_params.get("region", ""), token(request))
        return empty()


async def _cuda_status(request: Request) -> Response:
    no_cuda_region(request.path_params.get("region", ""))
    return reply([])


async def _cuda_register(request: Request) -> Response:
    raise refuse_cuda(request.path_params["region"])


async def _cuda_unregister(request: Request) -> Response:
    return empty()


def cuda_routes() -> list[Route]:
    region = f"{CUDA}/region/{{region}}"
    return [
        Route(f"{CUDA}/status", _cuda_status, methods=["GET"]),
        Route(f"{region}/status", _cuda_status, methods=["GET"]),
        Route(f"{region}/register", _cuda_register, methods=["POST"]),
        Route(f"{region}/unregister", _cuda_unregister, methods=["POST"]),
        Route(f"{CUDA}/unregister", _cuda_unregister, methods=["POST"]),
    ]
