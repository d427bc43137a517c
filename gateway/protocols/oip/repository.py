"""The model repository extension: which models there are, loading and unloading them.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, Unpack

from gateway.control.caller import Caller
from gateway.core.errors import InvalidArgument, PermissionDenied
from gateway.models.manager import Manager, VersionStatus
from gateway.protocols.oip.access import Gate, Need
from gateway.security.grant import Rights

if TYPE_CHECKING:
    from gateway.protocols.oip.peers import Peers

FILE: Final = "file:"

#: the config and the files of a load call
Load = tuple[str | None, dict[str, bytes] | None]


class Control(Protocol):
    """What of the control plane the protocol's calls need, wherever it is."""

    async def load_model(
        self,
        model: str,
        override: str | None = None,
        files: Mapping[str, bytes] | None = None,
        **by: Unpack[Caller],
    ) -> object: ...

    async def unload_model(self, model: str, **by: Unpack[Caller]) -> object: ...

    async def note(
        self, action: str, target: str, detail: Mapping[str, object] | None = None, **by: Unpack[Caller]
    ) -> None: ...


class ModelRepository:
    """need         of load and unload calls
    load_files   whether a load call may bring files
    peers        asked for the index, if there are any
    """

    def __init__(
        self, manager: Manager, control: Control, gate: Gate, *, load_files: bool, peers: Peers | None = None
    ) -> None:
        self._manager = manager
        self._peers = peers
        self._control = control
        self.load_files = load_files
        self.need: Final = Need("load", gate)

    async def index(self, rights: Rights, *, ready: bool) -> list[VersionStatus]:
        """Of the models that the caller may see. It tells no more than metadata and readiness do."""
        if self._peers is not None:
            found = await self._peers.index()
        else:
            await self._manager.refresh()
            found = self._manager.index()
        wanted = [status for status in found if status.state == "READY" or not ready]
        return [status for status in wanted if rights.may("read", status.name)]

    async def load(self, model: str, load: Load, by: Caller) -> None:
        override, files = load
        await self._control.load_model(model, override, files, **by)

    async def unload(self, model: str, by: Caller) -> None:
        await self._control.unload_model(model, **by)

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
