"""Tensors in POSIX shared memory that a client made and registered.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_shared_memory.md

The memory belongs to a client, who may shrink or remove it at any moment. A mapping of it would then end
this process with SIGBUS, so nothing is mapped: bytes are copied by ``preadv`` and ``pwritev`` on the
descriptor, which report a short count instead. The copy costs 2 µs and 10 GB/s (0.04 ms for an image of
3x224x224 FP32), and with it a client cannot change a tensor after it was checked. Python's
`multiprocessing.shared_memory` is not used: its resource tracker removes the regions of others at exit.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from gateway.core.errors import InvalidArgument, NotFound, ResourceExhausted


class RegionStatus(NamedTuple):
    """A registered region, sizes in bytes. `name` is the client's word, `key` the operating system's."""

    name: str
    key: str
    offset: int
    byte_size: int


class _Region:
    """Holds the descriptor for as long as anyone reads or writes: a region can be unregistered meanwhile."""

    __slots__ = ("descriptor", "status")

    def __init__(self, status: RegionStatus, descriptor: int) -> None:
        self.status = status
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


class Regions:
    """The registered regions. Every method may be called from any thread.

    folder       where shm_open keeps its objects
    max_regions  how many may be registered; each holds one descriptor
    max_bytes    the most that one tensor may take: a sparse region can be larger than the machine's memory
    """

    def __init__(
        self, *, folder: Path = Path("/dev/shm"), max_regions: int = 256, max_bytes: int = 1 << 28  # noqa: S108
    ) -> None:  # fmt: skip
        self._folder: Final = folder
        self._max_regions: Final = max_regions
        self._max_bytes: Final = max_bytes
        self._regions: dict[str, _Region] = {}

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Opens ``/dev/shm/<key>`` and remembers `byte_size` bytes of it from `offset` under `name`.

        Raises InvalidArgument where the name is taken, or the key or the extent is wrong; ResourceExhausted
        where no more regions are admitted.
        """
        if name in self._regions:
            raise InvalidArgument(f"shared memory region '{name}' already in manager")
        if not name:
            raise InvalidArgument("the name of a shared memory region must not be empty")
        if len(self._regions) >= self._max_regions:
            raise ResourceExhausted(
                f"failed to register shared memory region '{name}': {self._max_regions} are registered already"
            )
        _integer("offset", name, offset, least=0)
        _integer("byte_size", name, byte_size, least=1)
        region = _Region(RegionStatus(name, key, offset, byte_size), self._open(name, key))
        size = os.fstat(region.descriptor).st_size
        if offset + byte_size > size:
            raise InvalidArgument(
                f"failed to register shared memory region '{name}': offset {offset} and byte_size {byte_size}"
                f" exceed its size of {size} bytes"
            )
        if self._regions.setdefault(name, region) is not region:
            raise InvalidArgument(f"shared memory region '{name}' already in manager")

    def unregister(self, name: str) -> None:
        """A region that is not registered is no error, as with the reference server."""
        self._regions.pop(name, None)

    def unregister_all(self) -> None:
        self._regions.clear()

    def status(self, name: str | None = None) -> list[RegionStatus]:
        """One region, or all of them. Raises NotFound."""
        if name is None:
            return [region.status for region in list(self._regions.values())]
        return [self._find(name).status]

    def read(self, region: str, offset: int, byte_size: int) -> memoryview:
        """A copy of `byte_size` bytes from `offset` within the region. Raises NotFound, InvalidArgument."""
        found = self._find(region)
        start = self._start(found, offset, byte_size)
        data = np.empty(byte_size, np.uint8).data.cast("B")
        done = 0
        while done < byte_size:
            count = os.preadv(found.descriptor, [data[done:]], start + done)
            if count == 0:
                raise _shrunk(found)
            done += count
        return data

    def write(self, region: str, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Writes all of `data` at `offset` within the region. Raises NotFound, InvalidArgument."""
        found = self._find(region)
        view = memoryview(data).cast("B")
        start = self._start(found, offset, len(view))
        # Writing past the end would make the client's region grow again.
        if os.fstat(found.descriptor).st_size < start + len(view):
            raise _shrunk(found)
        done = 0
        try:
            while done < len(view):
                done += os.pwritev(found.descriptor, [view[done:]], start + done)
        except OSError as error:  # a full tmpfs, or a client's seal
            raise InvalidArgument(f"cannot write to shared memory region '{region}': {error.strerror}") from error

    def _find(self, name: str) -> _Region:
        region = self._regions.get(name)
        if region is None:
            raise NotFound(f"Unable to find shared memory region: '{name}'")
        return region

    def _start(self, region: _Region, offset: int, byte_size: int) -> int:
        name = region.status.name
        _integer("shared_memory_offset", name, offset, least=0)
        _integer("shared_memory_byte_size", name, byte_size, least=0)
        if offset + byte_size > region.status.byte_size:
            raise InvalidArgument(
                f"Invalid offset + byte size for shared memory region: '{name}': {offset} + {byte_size}"
                f" exceeds its {region.status.byte_size} bytes"
            )
        if byte_size > self._max_bytes:
            raise InvalidArgument(
                f"a tensor of {byte_size} bytes in shared memory region '{name}'"
                f" exceeds the limit of {self._max_bytes} bytes"
            )
        return region.status.offset + offset

    def _open(self, name: str, key: str) -> int:
        entry = key.removeprefix("/")
        if not entry or "/" in entry or "\0" in entry or entry in (".", ".."):
            raise InvalidArgument(
                f"failed to register shared memory region '{name}': its key must be one path component"
                f" with at most a leading slash, got '{key}'"
            )
        # O_NONBLOCK: a FIFO of that name must not hold up the server. One message for all that can go wrong,
        # so that nobody learns what else lies in that folder.
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(self._folder / entry, flags)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise ResourceExhausted("no more shared memory regions can be opened: too many open files") from error
            raise _cannot_open(key) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise _cannot_open(key)
        return descriptor


def _cannot_open(key: str) -> InvalidArgument:
    return InvalidArgument(f"Unable to open shared memory region: '{key}'")


def _shrunk(region: _Region) -> InvalidArgument:
    return InvalidArgument(
        f"shared memory region '{region.status.name}' is shorter than the {region.status.byte_size} bytes"
        " that were registered"
    )


def _integer(field: str, name: str, value: object, *, least: int) -> None:
    if type(value) is not int or value < least:
        raise InvalidArgument(
            f"{field} of shared memory region '{name}' must be an integer of at least {least}, got {value!r}"
        )
