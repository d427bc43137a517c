"""What the server and its models are, and whether they are ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import __version__
from gateway.core.errors import Unavailable
from gateway.core.tensor import TensorSpec
from gateway.models.manager import Manager
from gateway.protocols.rest.body import reply
from gateway.protocols.rest.versions import numbers, pinned

SERVER: Final = "sluice"
PLATFORM: Final = "onnxruntime_onnx"

#: extensions of the protocol that work whatever the settings are
EXTENSIONS: Final = (
    "classification",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)


class Metadata:
    """`ready` says whether the server takes traffic; `extensions` are those that the settings open."""

    def __init__(self, manager: Manager, ready: Callable[[], bool], extensions: tuple[str, ...] = ()) -> None:
        self._manager = manager
        self._ready = ready
        self._extensions = sorted(EXTENSIONS + extensions)

    def routes(self) -> list[Route]:
        model = "/v2/models/{model}"
        version = f"{model}/versions/{{version}}"
        return [
            Route("/v2", self.server, methods=["GET"]),
            Route("/v2/health/live", self.live, methods=["GET"]),
            Route("/v2/health/ready", self.ready, methods=["GET"]),
            Route(model, self.model, methods=["GET"]),
            Route(version, self.model, methods=["GET"]),
            Route(f"{model}/ready", self.model_ready, methods=["GET"]),
            Route(f"{version}/ready", self.model_ready, methods=["GET"]),
        ]

    async def server(self, request: Request) -> Response:
        return reply({"name": SERVER, "version": __version__, "extensions": self._extensions})

    async def live(self, request: Request) -> Response:
        return reply({"live": True})

    async def ready(self, request: Request) -> Response:
        ready = self._ready()
        return reply({"ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        """Without a version: the signature of the default one, and every version that is ready."""
        model, version = request.path_params["model"], request.path_params.get("version", "")
        with pinned(self._manager, model, version) as handle:
            signature = handle.servable.signature
            versions = [handle.id.version] if version else numbers(self._manager, model)
            return reply(
                {
                    "name": model,
                    "versions": versions,
                    "platform": PLATFORM,
                    "inputs": [_tensor(spec) for spec in signature.inputs.values()],
                    "outputs": [_tensor(spec) for spec in signature.outputs.values()],
                }
            )

    async def model_ready(self, request: Request) -> Response:
        model = request.path_params["model"]
        try:
            with pinned(self._manager, model, request.path_params.get("version", "")):
                return reply({"name": model, "ready": True})
        except Unavailable:
            return reply({"name": model, "ready": False}, 503)


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype.name, "shape": spec.shape}
