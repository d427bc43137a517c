"""The shared memory extensions. System shared memory works where the settings open it; CUDA's answers that
there is none, because clients ask for its status and unregister it before they do anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.codecs.sharedmemory import Regions, RegionStatus
from gateway.control.caller import Caller, Note, unnoted
from gateway.core.errors import InvalidArgument, NotFound
from gateway.protocols.oip.access import READ, Gate, Need

if TYPE_CHECKING:
    from gateway.protocols.oip.peers import Peers


class SystemSharedMemory:
    """`name` empty means all regions. `peers` are told of changes, if there are any. `need` is that of changes; with
    shared memory off nothing is registered, which everybody may know: otherwise the status tells the keys of other
    clients' memory, and needs the same.
    """

    def __init__(self, regions: Regions, gate: Gate, peers: Peers | None = None, note: Note = unnoted) -> None:
        self._note = note
        self._regions = regions
        self._peers = peers
        self.need: Final = Need("admin", gate)
        self.status_need: Final = READ if gate.off else self.need

    def status(self, name: str) -> list[RegionStatus]:
        """Raises NotFound."""
        return self._regions.status(name or None)

    async def register(self, name: str, key: str, offset: int, byte_size: int, by: Caller) -> None:
        """Raises InvalidArgument, ResourceExhausted."""
        if self._peers is None:
            self._regions.register(name, key, offset, byte_size)
        else:
            await self._peers.register(name, key, offset, byte_size)
        await self._note("memory.register", name, {"key": key, "offset": offset, "byte_size": byte_size}, **by)

    async def unregister(self, name: str, by: Caller) -> None:
        if self._peers is not None:
            await self._peers.unregister(name)
        elif name:
            self._regions.unregister(name)
        else:
            self._regions.unregister_all()
        await self._note("memory.unregister", name or "*", **by)


def no_cuda_region(name: str) -> None:
    """Nothing is registered: of all regions that is an answer, of one it is an error. Raises NotFound."""
    if name:
        raise NotFound(f"Unable to find cuda shared memory region: '{name}'")


def refuse_cuda(name: str) -> InvalidArgument:
    return InvalidArgument(f"failed to register CUDA shared memory region '{name}': this server has no CUDA")
