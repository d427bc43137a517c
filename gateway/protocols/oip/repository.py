"""The model repository extension: which models there are, loading and unloading them.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.control.plane import ControlPlane
from gateway.core.errors import InvalidArgument, PermissionDenied
from gateway.models.manager import Manager, VersionStatus
from gateway.protocols.oip.access import Gate

FILE: Final = "file:"

#: the config and the files of a load call
Load = tuple[str | None, dict[str, bytes] | None]


class ModelRepository:
    """Who transports load and unload calls checks `gate` before it reads more of them.

    load_files   whether a load call may bring files
    origin       where a caller is, for the audit trail
    """

    def __init__(self, manager: Manager, control: ControlPlane, gate: Gate, *, load_files: bool) -> None:
        self._manager = manager
        self._control = control
        self.load_files = load_files
        self.gate = gate

    async def index(self, *, ready: bool) -> list[VersionStatus]:
        """Open whatever the gate says: it tells no more than metadata and readiness do."""
        await self._manager.refresh()
        return [status for status in self._manager.index() if status.state == "READY" or not ready]

    async def load(self, model: str, load: Load, origin: str) -> None:
        override, files = load
        await self._control.load_model(model, override, files, actor=self.gate.actor, origin=origin)

    async def unload(self, model: str, origin: str) -> None:
        await self._control.unload_model(model, actor=self.gate.actor, origin=origin)

    def read_load(self, parameters: Mapping[str, Any], content: Callable[[str, Any], bytes]) -> Load:
        """`content` makes the bytes of a file out of the parameter's name and value.

        Raises InvalidArgument that names the parameter, PermissionDenied where files are not taken.
        """
        files: dict[str, bytes] = {}
        override: str | None = None
        for name, value in parameters.items():
            if name == "config":
                if not isinstance(value, str):
                    raise InvalidArgument(f"load parameter 'config' must be a string, got {type(value).__name__}")
                override = value
            elif not name.startswith(FILE):
                raise InvalidArgument(f"unexpected load parameter '{name}', expected 'config' or 'file:<path>'")
            elif not self.load_files:
                raise PermissionDenied(
                    f"load parameter '{name}': files are not taken, setting 'restricted.load_files' opens it"
                )
            else:
                files[name.removeprefix(FILE)] = content(name, value)
        if files and override is None:
            raise InvalidArgument("load parameters 'file:<path>' need 'config' beside them")
        return override, files or None
