"""The shared memory extensions. System shared memory works where the settings open it; CUDA's answers that
there is none, because clients ask for its status and unregister it before they do anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.codecs.sharedmemory import Regions, RegionStatus
from gateway.core.errors import InvalidArgument, NotFound, Unsupported
from gateway.protocols.oip.access import Gate

if TYPE_CHECKING:
    from gateway.protocols.oip.peers import Peers


class SystemSharedMemory:
    """`name` empty means all regions. Every method raises what `Gate.check` raises. `peers` are told of changes, if
    there are any.
    """

    def __init__(self, regions: Regions, gate: Gate, peers: Peers | None = None) -> None:
        self._regions = regions
        self._peers = peers
        self._gate = gate

    def status(self, name: str, token: bytes) -> list[RegionStatus]:
        """With shared memory off nothing is registered, and that is the answer.

        Otherwise it tells the keys of other clients' memory, so that the same token opens it as the rest.
        Raises NotFound.
        """
        if self._gate.access != "off":
            self._gate.check(token)
        return self._regions.status(name or None)

    async def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """After `check`. Raises InvalidArgument, ResourceExhausted."""
        if self._peers is None:
            self._regions.register(name, key, offset, byte_size)
        else:
            await self._peers.register(name, key, offset, byte_size)

    async def unregister(self, name: str, token: bytes) -> None:
        self.check(token)
        if self._peers is not None:
            await self._peers.unregister(name)
        elif name:
            self._regions.unregister(name)
        else:
            self._regions.unregister_all()

    def check(self, token: bytes) -> None:
        """Raises Unsupported where it is off."""
        if self._gate.access == "off":
            raise self._gate.closed(Unsupported)
        self._gate.check(token)


def no_cuda_region(name: str) -> None:
    """Nothing is registered: of all regions that is an answer, of one it is an error. Raises NotFound."""
    if name:
        raise NotFound(f"Unable to find cuda shared memory region: '{name}'")


def refuse_cuda(name: str) -> InvalidArgument:
    return InvalidArgument(f"failed to register CUDA shared memory region '{name}': this server has no CUDA")
