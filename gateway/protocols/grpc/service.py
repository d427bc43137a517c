"""The calls of GRPCInferenceService besides inference: out of messages into what `protocols.oip` takes, and back.

A call answers with the fields of its response.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from gateway.control.caller import Caller
from gateway.core.errors import InvalidArgument, NotFound
from gateway.models.config.description import describe_message
from gateway.protocols.oip.access import FREE, READ, Need
from gateway.protocols.oip.calls import Calls
from gateway.protocols.oip.sharedmemory import no_cuda_region, refuse_cuda
from gateway.protocols.oip.versions import pinned
from gateway.security.grant import Rights

SERVICE: Final = "inference.GRPCInferenceService"

Fields = Mapping[str, Any]


class Asker(NamedTuple):
    """What who calls may see, and who it is for the audit trail."""

    rights: Rights
    by: Caller


class Method(NamedTuple):
    """need    of a caller
    model   the field of its message that names a model, empty for the whole server
    change  what it needs instead where the message has `settings`
    """

    call: Callable[[Any, Asker], Awaitable[Fields]]
    need: Need
    model: str = ""
    change: Need | None = None

    def needs(self, request: Any) -> tuple[Need, str | None]:
        """And the model, if the message names one."""
        need = self.change if self.change is not None and request.settings else self.need
        return need, (getattr(request, self.model) or None) if self.model else None


class InferenceService:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def methods(self) -> dict[str, Method]:
        """By the service's own names of them."""
        calls = self._calls
        return {
            "ServerLive": Method(self.server_live, FREE),
            "ServerReady": Method(self.server_ready, FREE),
            "ModelReady": Method(self.model_ready, READ, "name"),
            "ServerMetadata": Method(self.server_metadata, READ),
            "ModelMetadata": Method(self.model_metadata, READ, "name"),
            "ModelConfig": Method(self.model_config, READ, "name"),
            "ModelStatistics": Method(self.model_statistics, READ, "name"),
            "RepositoryIndex": Method(self.repository_index, READ),
            "RepositoryModelLoad": Method(self.repository_load, calls.repository.need, "model_name"),
            "RepositoryModelUnload": Method(self.repository_unload, calls.repository.need, "model_name"),
            "SystemSharedMemoryStatus": Method(self.memory_status, calls.memory.status_need),
            "SystemSharedMemoryRegister": Method(self.memory_register, calls.memory.need),
            "SystemSharedMemoryUnregister": Method(self.memory_unregister, calls.memory.need),
            "CudaSharedMemoryStatus": Method(self.cuda_status, READ),
            "CudaSharedMemoryRegister": Method(self.cuda_register, READ),
            "CudaSharedMemoryUnregister": Method(self.cuda_unregister, READ),
            "TraceSetting": Method(self.trace_setting, READ, "model_name", calls.trace.need),
            "LogSettings": Method(self.log_settings, READ, "", calls.logging.need),
        }

    # ---- health and metadata

    async def server_live(self, request: Any, asker: Asker) -> Fields:
        return {"live": True}

    async def server_ready(self, request: Any, asker: Asker) -> Fields:
        return {"ready": self._calls.metadata.server_ready()}

    async def model_ready(self, request: Any, asker: Asker) -> Fields:
        """A model that is not there is not ready, and that is no error: what the reference server answers here."""
        try:
            return {"ready": self._calls.metadata.model_ready(request.name, request.version)}
        except NotFound:
            return {"ready": False}

    async def server_metadata(self, request: Any, asker: Asker) -> Fields:
        return self._calls.metadata.server()

    async def model_metadata(self, request: Any, asker: Asker) -> Fields:
        return self._calls.metadata.model(request.name, request.version)

    async def model_config(self, request: Any, asker: Asker) -> Fields:
        with pinned(self._calls.manager, request.name, request.version) as handle:
            return {"config": describe_message(handle.config, handle.servable.signature, request.name)}

    async def model_statistics(self, request: Any, asker: Asker) -> Fields:
        statistics = self._calls.statistics
        return await (statistics.of(request.name, request.version) if request.name else statistics.of_all(asker.rights))

    # ---- repository

    async def repository_index(self, request: Any, asker: Asker) -> Fields:
        _check_repository(request)
        return {
            "models": [each._asdict() for each in await self._calls.repository.index(asker.rights, ready=request.ready)]
        }

    async def repository_load(self, request: Any, asker: Asker) -> Fields:
        repository = self._calls.repository
        _check_repository(request)
        load = repository.read_load(_values(request.parameters), _content)
        await repository.load(request.model_name, load, asker.by)
        return {}

    async def repository_unload(self, request: Any, asker: Asker) -> Fields:
        repository = self._calls.repository
        _check_repository(request)
        # no model here depends on another one, so that there is nothing more to unload
        for name, value in _values(request.parameters).items():
            if name != "unload_dependents" or type(value) is not bool:
                raise InvalidArgument(f"unexpected unload parameter '{name}', expected 'unload_dependents', a bool")
        await repository.unload(request.model_name, asker.by)
        return {}

    # ---- shared memory

    async def memory_status(self, request: Any, asker: Asker) -> Fields:
        found = self._calls.memory.status(request.name)
        return {"regions": {region.name: region._asdict() for region in found}}

    async def memory_register(self, request: Any, asker: Asker) -> Fields:
        await self._calls.memory.register(request.name, request.key, request.offset, request.byte_size, asker.by)
        return {}

    async def memory_unregister(self, request: Any, asker: Asker) -> Fields:
        await self._calls.memory.unregister(request.name, asker.by)
        return {}

    async def cuda_status(self, request: Any, asker: Asker) -> Fields:
        no_cuda_region(request.name)
        return {}

    async def cuda_register(self, request: Any, asker: Asker) -> Fields:
        raise refuse_cuda(request.name)

    async def cuda_unregister(self, request: Any, asker: Asker) -> Fields:
        return {}

    # ---- settings

    async def trace_setting(self, request: Any, asker: Asker) -> Fields:
        trace, model = self._calls.trace, request.model_name
        if request.settings:
            changes = {name: list(setting.value) for name, setting in request.settings.items()}
            await trace.change(changes, model, asker.by)
        return {"settings": {name: {"value": values} for name, values in trace.current(model).items()}}

    async def log_settings(self, request: Any, asker: Asker) -> Fields:
        logging = self._calls.logging
        if request.settings:
            await logging.change(_values(request.settings), asker.by)
        current = msgspec.structs.asdict(logging.current())
        return {"settings": {name: {_KIND[type(value)]: value} for name, value in current.items()}}


_KIND: Final = {bool: "bool_param", int: "uint32_param", str: "string_param"}


def _check_repository(request: Any) -> None:
    if request.repository_name:
        raise NotFound(f"there is no repository '{request.repository_name}': the one that there is has no name")


def _values(parameters: Any) -> dict[str, Any]:
    """A map of messages with one `parameter_choice` each, as plain values."""
    found: dict[str, Any] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise InvalidArgument(f"parameter '{name}' has no value")
        found[name] = getattr(parameter, choice)
    return found


def _content(name: str, value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise InvalidArgument(f"load parameter '{name}' must be bytes_param, got {type(value).__name__}")
    return value
