"""The shared memory extensions. System shared memory works where the settings open it; CUDA's answers that
there is none, because clients ask for its status and unregister it before they do anything else.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.codecs.sharedmemory import Regions
from gateway.core.errors import InvalidArgument, NotFound, Unsupported
from gateway.protocols.rest.access import Gate
from gateway.protocols.rest.body import empty, parse, read, reply

SYSTEM: Final = "/v2/systemsharedmemory"
CUDA: Final = "/v2/cudasharedmemory"


class Registration(Struct):
    key: str
    byte_size: int
    offset: int = 0


class SystemSharedMemory:
    def __init__(self, regions: Regions, gate: Gate, max_body: int) -> None:
        self._regions = regions
        self._gate = gate
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
        """With shared memory off nothing is registered, and that is the answer.

        Otherwise it tells the keys of other clients' memory, so that the same token opens it as the rest.
        """
        if self._gate.access != "off":
            self._gate.check(request)
        found = self._regions.status(request.path_params.get("region"))
        return reply([status._asdict() for status in found])

    async def register(self, request: Request) -> Response:
        self._check(request)
        asked = parse(await read(request, self._max_body), Registration)
        self._regions.register(request.path_params["region"], asked.key, asked.offset, asked.byte_size)
        return empty()

    async def unregister(self, request: Request) -> Response:
        self._check(request)
        region = request.path_params.get("region")
        if region is None:
            self._regions.unregister_all()
        else:
            self._regions.unregister(region)
        return empty()

    def _check(self, request: Request) -> None:
        if self._gate.access == "off":
            raise self._gate.closed(Unsupported)
        self._gate.check(request)


async def _cuda_status(request: Request) -> Response:
    region = request.path_params.get("region")
    if region is not None:
        raise NotFound(f"Unable to find cuda shared memory region: '{region}'")
    return reply([])


async def _cuda_register(request: Request) -> Response:
    raise InvalidArgument(
        f"failed to register CUDA shared memory region '{request.path_params['region']}': this server has no CUDA"
    )


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
