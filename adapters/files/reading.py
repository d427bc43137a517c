"""One file that is being read, a piece at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from adapters.files.blocks import Blocks
from adapters.files.folder import REDRIVEN, Found
from gateway.core.framing import Bdw, Fixed, Framer, Lines, Rdw
from gateway.core.stream import DataError, Transient

#: bytes of a broken record that its dead letter keeps
KEPT: Final = 64 << 10
#: bytes that are read at once, at least and for a digest
LEAST: Final = 64 << 10
BLOCK: Final = 1 << 20
#: bytes around a record, at most: a line end, a descriptor
FRAME: Final = 4
_LOST: Final = "what follows in the file cannot be told apart"
_BLANK: Final = re.compile(rb"(?:\r?\n)*")


class Piece(NamedTuple):
    """Records that follow one another. `first` is the ordinal of the first of them, `offset` where the next begins."""

    values: Sequence[bytes]
    faults: dict[int, str]
    first: int
    offset: int
    end: bool


class Reading:
    """Belongs to one thread. Nothing of the file is kept: each piece is read where the one before it ended."""

    def __init__(self, folder: Path, found: Found, framer: Framer, limit: int, alike: bool) -> None:
        """limit: bytes of a record; alike: files of the same content are the same"""
        self.found: Final = found
        # redriven records are to be read again, whether or not a file had the same ones before
        self._own: Final = "" if alike and not REDRIVEN.match(found.name) else f"{found.name}/{found.mtime}"
        self._path: Final = folder / found.name
        self._framer: Final = framer
        self._limit: Final = limit
        self._blocks: Final = Blocks() if isinstance(framer, Bdw) else None
        self._file = -1
        self._size = found.size
        self.digest = ""
        self.offset = 0
        self.ordinal = 0
        #: bytes of a record, about
        self._mean = 200.0

    def open(self) -> None:
        """Reads all of it once, for the digest."""
        self._file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        digest = sha256(self._own.encode())
        at = 0
        while block := os.pread(self._file, BLOCK, at):
            digest.update(block)
            at += len(block)
        if self._blocks is not None:
            self._blocks.find(self._file, at)
            self._size = self._blocks.size
        self._check()
        self.digest = digest.hexdigest()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def begin(self, offset: int, ordinal: int) -> None:
        self.offset, self.ordinal = offset, ordinal

    def advance(self, piece: Piece) -> None:
        self.offset, self.ordinal = piece.offset, piece.first + len(piece.values)

    def piece(self, rows: int, nbytes: int) -> Piece:
        """At most that many records, and about as many bytes. Raises Transient where the file has changed."""
        most = self._limit + FRAME
        want = min(max(int(self._mean * rows * 1.1), LEAST), max(nbytes, 1), most)
        while True:
            data = self._read(want)
            self._check()
            final = self.offset + len(data) >= self._size
            piece = self._split(data, final, rows)
            if piece is None and want >= most:
                piece = self._beyond()
            if piece is not None:
                return piece
            want = min(want * 4, most)

    def _split(self, data: bytes, final: bool, rows: int) -> Piece | None:
        """None where not even one record ends in it."""
        try:
            values, size = self._framer.split(data, final=False, limit=rows)
            faults: dict[int, str] = {}
            if not values and final and self._blocks is not None and self._blocks.fault:
                return self._broken(f"{self._blocks.fault}; {_LOST}")
            if not values and final:
                values, size = self._framer.split(data, final=True, limit=rows)
                if isinstance(self._framer, (Fixed, Rdw)) and values:
                    faults = {0: f"the file ends in the middle of a record, {len(data)} bytes after its beginning"}
        except DataError as error:
            return self._broken(f"{error.message}; {_LOST}")
        if not values and not final:
            return None
        if values:
            self._mean = 0.8 * self._mean + 0.2 * size / len(values)
        offset = self.offset + size
        if not final or size < len(data):
            offset = self._blank(offset)
        if values and not self.offset and not faults and type(self._framer) is Rdw and _is_block(values[0]):
            faults = {0: "it is several records with descriptors of their own: is the file in blocks, `records: bdw`?"}
        end = offset >= self._size and not (self._blocks is not None and self._blocks.fault)
        return Piece(values, faults, self.ordinal, offset, end)

    def _read(self, size: int) -> bytes:
        if self._blocks is not None:
            return self._blocks.read(self._file, size, self.offset)
        return os.pread(self._file, size, self.offset)

    def _where(self) -> int:
        """The place in the file of what is read next."""
        return self.offset if self._blocks is None else self._blocks.place(self._file, self.offset)

    def _blank(self, offset: int) -> int:
        """Beyond empty lines, so that the last record's piece is known to be the last."""
        if not isinstance(self._framer, Lines):
            return offset
        while data := os.pread(self._file, 256, offset):
            found = _BLANK.match(data)
            size = found.end() if found else 0
            offset += size
            if not size or size < len(data) - 1:
                break
        return offset

    def _broken(self, reason: str) -> Piece:
        """The rest of the file as one record, which will be a dead letter."""
        head = os.pread(self._file, KEPT, self._where())
        where = f"at byte {self._where()} of {self.found.size}: {reason}"
        return Piece([head], {0: where}, self.ordinal, self._size, True)

    def _beyond(self) -> Piece:
        """A record that is too long. Of lines, the next one begins after the next line end."""
        reason = f"it is longer than max_record_bytes, {self._limit}"
        if not isinstance(self._framer, Lines):
            return self._broken(reason)
        head = os.pread(self._file, KEPT, self.offset)
        at = self.offset + self._limit + FRAME
        while block := os.pread(self._file, BLOCK, at):
            end = block.find(b"\n")
            if end >= 0:
                at = self._blank(at + end + 1)
                break
            at += len(block)
        faults = {0: f"at byte {self.offset}: {reason}; it ends at byte {at}"}
        return Piece([head], faults, self.ordinal, at, at >= self.found.size)

    def _check(self) -> None:
        now = os.fstat(self._file)
        if (now.st_size, now.st_mtime_ns) != (self.found.size, self.found.mtime):
            raise Transient(
                f"{self._path} has changed while it was read: its producer must write under another name and rename, or"
                " stable_seconds must be longer"
            )


def _is_block(value: bytes) -> bool:
    """The value is nothing but records behind one another, each with its descriptor."""
    try:
        values, end = Rdw().split(value, final=False)
    except DataError:
        return False
    return len(values) > 1 and end == len(value)
