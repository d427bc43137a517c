"""A file of records in the making."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from adapters.files.journal import put, sync_folder
from gateway.core.stream import Transient


class Part(msgspec.Struct, frozen=True):
    """What the journal says of it: the name that it will have, and how many of its bytes hold."""

    name: str
    length: int = 0
    growing: bool = False


class Segment:
    """Has its name from the beginning where it is `growing`, else a hidden one until it is published."""

    def __init__(self, folder: Path, part: Part) -> None:
        self._final: Final = folder / part.name
        self._path: Final = self._final if part.growing else folder / f".{part.name}.part"
        #: what holds
        self.part = part
        self._file = -1
        self._clean = False

    def append(self, data: bytes) -> Part:
        """On the disk when it returns, but it only counts when `part` has become what is returned."""
        self.make()
        self._clean = False
        put(self._file, data, self.part.length)
        os.fdatasync(self._file)
        return Part(self.part.name, self.part.length + len(data), self.part.growing)

    def undo(self) -> None:
        """Frees what was appended and does not hold, where that can be done now."""
        if self._file >= 0 and not self._clean:
            with suppress(OSError):
                os.ftruncate(self._file, self.part.length)

    def hold(self, part: Part) -> None:
        """The journal has it now."""
        self.part = part
        self._clean = True

    def make(self) -> None:
        """It is there, and what does not hold is cut off. Raises Transient where bytes are missing that should be."""
        if self._file < 0:
            self._final.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            sync_folder(self._final.parent)
        if self._clean:
            return
        size = os.fstat(self._file).st_size
        if size < self.part.length:
            raise Transient(
                f"{self._path} has {size} bytes, and its journal says {self.part.length}: it was cut or removed; put"
                " it back, or remove the journal in .sluice beside it to begin anew"
            )
        os.ftruncate(self._file, self.part.length)
        self._clean = True

    def publish(self) -> None:
        """Gives it its name. Where it has it already, nothing happens: a crash may have come after that."""
        self.close()
        if self.part.growing:
            return
        try:
            self._path.rename(self._final)
        except FileNotFoundError:
            return
        sync_folder(self._final.parent)

    def end(self) -> None:
        """Of a process that is gone: what does not hold is cut off. What was taken away meanwhile is not missed."""
        if self._path.exists():
            if self._path.lstat().st_size > self.part.length:
                self.make()
            self.publish()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._clean = False
