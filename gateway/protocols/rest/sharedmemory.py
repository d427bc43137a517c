"""The shared memory extensions."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from gateway.protocols.doorman import caller
from gateway.protocols.oip.access import READ
from gateway.protocols.oip.sharedmemory import SystemSharedMemory, no_cuda_region, refuse_cuda
from gateway.protocols.rest.body import empty, parse, read, reply
from gateway.protocols.route import Call

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

    def routes(self) -> list[Call]:
        need, status = self._memory.need, self._memory.status_need
        region = f"{SYSTEM}/region/{{region}}"
        return [
            Call(f"{SYSTEM}/status", self.status, status),
            Call(f"{region}/status", self.status, status),
            Call(f"{region}/register", self.register, need, methods=["POST"]),
            Call(f"{region}/unregister", self.unregister, need, methods=["POST"]),
            Call(f"{SYSTEM}/unregister", self.unregister, need, methods=["POST"]),
        ]

    async def status(self, request: Request) -> Response:
        found = self._memory.status(request.path_params.get("region", ""))
        return reply([status._asdict() for status in found])

    async def register(self, request: Request) -> Response:
        asked = parse(await read(request, self._max_body), Registration)
        region = request.path_params["region"]
        await self._memory.register(region, asked.key, asked.offset, asked.byte_size, caller(request, "rest"))
        return empty()

    async def unregister(self, request: Request) -> Response:
        await self._memory.unregister(request.path_params.get("region", ""), caller(request, "rest"))
        return empty()


async def _cuda_status(request: Request) -> Response:
    no_cuda_region(request.path_params.get("region", ""))
    return reply([])


async def _cuda_register(request: Request) -> Response:
    raise refuse_cuda(request.path_params["region"])


async def _cuda_unregister(request: Request) -> Response:
    return empty()


def cuda_routes() -> list[Call]:
    region = f"{CUDA}/region/{{region}}"
    return [
        Call(f"{CUDA}/status", _cuda_status, READ),
        Call(f"{region}/status", _cuda_status, READ),
        Call(f"{region}/register", _cuda_register, READ, methods=["POST"]),
        Call(f"{region}/unregister", _cuda_unregister, READ, methods=["POST"]),
        Call(f"{CUDA}/unregister", _cuda_unregister, READ, methods=["POST"]),
    ]
