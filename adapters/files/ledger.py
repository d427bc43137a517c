"""Which contents have been read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from adapters.files.journal import put, sync_folder
from gateway.core.stream import Transient


class Content(msgspec.Struct, frozen=True):
    """digest   SHA-256 of the content
    name     of the first file that had it
    offset, ordinal   where to go on with a file that was taken away half-read; -1: nothing is left to do
    """

    digest: str
    name: str
    size: int
    mtime: int
    offset: int = -1
    ordinal: int = -1


class Ledger:
    """A file of JSON lines, each on the disk before `add` returns. Belongs to one thread."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path: Final = path
        self._limit: Final = limit
        self._contents: dict[str, Content] = {}
        self._files: dict[tuple[str, int, int], str] = {}
        self._file = -1
        self._end = 0

    def open(self) -> None:
        """Raises Transient where it cannot be read."""
        self.close()
        self._contents, self._files = {}, {}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = self._path.read_bytes() if self._path.exists() else b""
        for number, line in enumerate(text[: text.rfind(b"\n") + 1].splitlines(), 1):
            try:
                self._remember(msgspec.json.decode(line, type=Content))
            except msgspec.DecodeError as error:
                raise Transient(f"{self._path} cannot be read at line {number}: {error}") from error
        self._renew()

    def get(self, digest: str) -> Content | None:
        return self._contents.get(digest)

    def knows(self, name: str, size: int, mtime: int) -> bool:
        """Whether that very file has been read to its end: its content need not be looked at."""
        digest = self._files.get((name, size, mtime))
        return digest is not None and self._contents[digest].offset < 0

    def add(self, content: Content) -> None:
        if self._contents.get(content.digest) == content:
            return
        line = msgspec.json.encode(content) + b"\n"
        try:
            put(self._file, line, self._end)
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(line)
        self._remember(content)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _remember(self, content: Content) -> None:
        self._forget(content.digest)
        self._contents[content.digest] = content
        self._files[content.name, content.size, content.mtime] = content.digest
        if len(self._contents) > self._limit:
            self._forget(next(iter(self._contents)))

    def _forget(self, digest: str) -> None:
        old = self._contents.pop(digest, None)
        if old is not None:
            self._files.pop((old.name, old.size, old.mtime), None)

    def _renew(self) -> None:
        """Without what was forgotten."""
        data = b"".join(msgspec.json.encode(content) + b"\n" for content in self._contents.values())
        new = self._path.with_suffix(".new")
        self._file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        put(self._file, data, 0)
        os.fsync(self._file)
        new.rename(self._path)
        sync_folder(self._path.parent)
        self._end = len(data)
