"""The calls of GRPCInferenceService besides inference: out of messages into what `protocols.oip` takes, and back.

A call answers with the fields of its response.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from gateway.core.errors import InvalidArgument, NotFound
from gateway.models.description import describe_message
from gateway.protocols.oip.calls import Calls
from gateway.protocols.oip.sharedmemory import no_cuda_region, refuse_cuda
from gateway.protocols.oip.versions import pinned

SERVICE: Final = "inference.GRPCInferenceService"

Fields = Mapping[str, Any]


class Caller(NamedTuple):
    """`token` is what they present, empty for none; `origin` where they are, for the audit trail."""

    token: bytes
    origin: str


Method = Callable[[Any, Caller], Awaitable[Fields]]


class InferenceService:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def methods(self) -> dict[str, Method]:
        """By the service's own names of them."""
        return {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.server_metadata,
            "ModelMetadata": self.model_metadata,
            "ModelConfig": self.model_config,
            "ModelStatistics": self.model_statistics,
            "RepositoryIndex": self.repository_index,
            "RepositoryModelLoad": self.repository_load,
            "RepositoryModelUnload": self.repository_unload,
            "SystemSharedMemoryStatus": self.memory_status,
            "SystemSharedMemoryRegister": self.memory_register,
            "SystemSharedMemoryUnregister": self.memory_unregister,
            "CudaSharedMemoryStatus": self.cuda_status,
            "CudaSharedMemoryRegister": self.cuda_register,
            "CudaSharedMemoryUnregister": self.cuda_unregister,
            "TraceSetting": self.trace_setting,
            "LogSettings": self.log_settings,
        }

    # ---- health and metadata

    async def server_live(self, request: Any, caller: Caller) -> Fields:
        return {"live": True}

    async def server_ready(self, request: Any, caller: Caller) -> Fields:
        return {"ready": self._calls.metadata.server_ready()}

    async def model_ready(self, request: Any, caller: Caller) -> Fields:
        """A model that is not there is not ready, and that is no error: what the reference server answers here."""
        try:
            return {"ready": self._calls.metadata.model_ready(request.name, request.version)}
        except NotFound:
            return {"ready": False}

    async def server_metadata(self, request: Any, caller: Caller) -> Fields:
        return self._calls.metadata.server()

    async def model_metadata(self, request: Any, caller: Caller) -> Fields:
        return self._calls.metadata.model(request.name, request.version)

    async def model_config(self, request: Any, caller: Caller) -> Fields:
        with pinned(self._calls.manager, request.name, request.version) as handle:
            return {"config": describe_message(handle.config, handle.servable.signature, request.name)}

    async def model_statistics(self, request: Any, caller: Caller) -> Fields:
        statistics = self._calls.statistics
        return await (statistics.of(request.name, request.version) if request.name else statistics.of_all())

    # ---- repository

    async def repository_index(self, request: Any, caller: Caller) -> Fields:
        _check_repository(request)
        return {"models": [each._asdict() for each in await self._calls.repository.index(ready=request.ready)]}

    async def repository_load(self, request: Any, caller: Caller) -> Fields:
        repository = self._calls.repository
        repository.gate.check(caller.token)
        _check_repository(request)
        load = repository.read_load(_values(request.parameters), _content)
        await repository.load(request.model_name, load, caller.origin)
        return {}

    async def repository_unload(self, request: Any, caller: Caller) -> Fields:
        repository = self._calls.repository
        repository.gate.check(caller.token)
        _check_repository(request)
        # no model here depends on another one, so that there is nothing more to unload
        for name, value in _values(request.parameters).items():
            if name != "unload_dependents" or type(value) is not bool:
                raise InvalidArgument(f"unexpected unload parameter '{name}', expected 'unload_dependents', a bool")
        await repository.unload(request.model_name, caller.origin)
        return {}

    # ---- shared memory

    async def memory_status(self, request: Any, caller: Caller) -> Fields:
        found = self._calls.memory.status(request.name, caller.token)
        return {"regions": {region.name: region._asdict() for region in found}}

    async def memory_register(self, request: Any, caller: Caller) -> Fields:
        self._calls.memory.check(caller.token)
        await self._calls.memory.register(request.name, request.key, request.offset, request.byte_size)
        return {}

    async def memory_unregister(self, request: Any, caller: Caller) -> Fields:
        await self._calls.memory.unregister(request.name, caller.token)
        return {}

    async def cuda_status(self, request: Any, caller: Caller) -> Fields:
        no_cuda_region(request.name)
        return {}

    async def cuda_register(self, request: Any, caller: Caller) -> Fields:
        raise refuse_cuda(request.name)

    async def cuda_unregister(self, request: Any, caller: Caller) -> Fields:
        return {}

    # ---- settings

    async def trace_setting(self, request: Any, caller: Caller) -> Fields:
        trace, model = self._calls.trace, request.model_name
        if request.settings:
            trace.check(caller.token)
            await trace.change({name: list(setting.value) for name, setting in request.settings.items()}, model)
        return {"settings": {name: {"value": values} for name, values in trace.current(model).items()}}

    async def log_settings(self, request: Any, caller: Caller) -> Fields:
        logging = self._calls.logging
        if request.settings:
            logging.check(caller.token)
            await logging.change(_values(request.settings))
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
