"""What the server and its models are, and whether they are ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway import __version__
from gateway.core.errors import Unavailable
from gateway.core.tensor import TensorSpec
from gateway.models.manager import Manager
from gateway.protocols.oip.versions import numbers, pinned
from gateway.settings.schema import Restricted

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
        self._extensions = sorted(EXTENSIONS + extensions)
        self.server_ready = ready

    def server(self) -> dict[str, Any]:
        return {"name": SERVER, "version": __version__, "extensions": self._extensions}

    def model(self, model: str, version: str) -> dict[str, Any]:
        """Without a version: the signature of the default one, and every version that is ready.

        Raises NotFound, Unavailable.
        """
        with pinned(self._manager, model, version) as handle:
            signature = handle.servable.signature
            return {
                "name": model,
                "versions": [handle.id.version] if version else numbers(self._manager, model),
                "platform": PLATFORM,
                "inputs": [_tensor(spec) for spec in signature.inputs.values()],
                "outputs": [_tensor(spec) for spec in signature.outputs.values()],
            }

    def model_ready(self, model: str, version: str) -> bool:
        """Raises NotFound."""
        try:
            with pinned(self._manager, model, version):
                return True
        except Unavailable:
            return False


def opened(restricted: Restricted) -> tuple[str, ...]:
    """The extensions that are there because a setting opens them."""
    found: list[str] = []
    if restricted.repository != "off":
        found += ["model_repository", "model_repository(unload_dependents)"]
    if restricted.shared_memory != "off":
        found.append("system_shared_memory")
    if restricted.logging != "off":
        found.append("logging")
    return tuple(found)


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype.name, "shape": spec.shape}
