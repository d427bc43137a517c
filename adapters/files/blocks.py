"""What lies in the blocks of a file, without their descriptors.

Format: z/OS DFSMS Using Data Sets, "Block descriptor word (BDW)"; the extended one has its first bit set.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

#: bytes of a descriptor
HEAD: Final = 4


class Block(NamedTuple):
    """A block's contents: where in all of the contents they begin, where in the file, and how many bytes they have."""

    start: int
    place: int
    length: int


class Blocks:
    """Remembers one block alone, so that memory does not grow with the file: a reader goes forward.

    size    bytes of all contents
    fault   why nothing further is a block; "" where all of the file is
    """

    def __init__(self) -> None:
        self.size = 0
        self.fault = ""
        #: where the last whole block ends, in the file
        self._end = 0
        self._now = Block(0, 0, 0)

    def find(self, file: int, size: int) -> None:
        """Reads the descriptors of a file of that many bytes. The last block may be cut off."""
        self._now = self._block(file, 0, 0, size)
        block = self._now
        while block.length:
            self._end = block.place + block.length
            self.size = block.start + block.length
            block = self._block(file, self._end, self.size, size)

    def read(self, file: int, size: int, offset: int) -> bytes:
        """So many bytes of the contents, or up to their end."""
        parts: list[bytes] = []
        block, size = self._seek(file, offset), min(size, self.size - offset)
        while size > 0:
            skip = offset - block.start
            data = os.pread(file, min(size, block.length - skip), block.place + skip)
            if not data:
                break  # it was cut off meanwhile, which is found out
            parts.append(data)
            offset, size = offset + len(data), size - len(data)
            if size and offset == block.start + block.length:
                block = self._block(file, block.place + block.length, offset, self._end)
        return b"".join(parts)

    def place(self, file: int, offset: int) -> int:
        """Where in the file it lies; of what is beyond the blocks, where they end."""
        if offset >= self.size:
            return self._end
        block = self._seek(file, offset)
        return block.place + offset - block.start

    def _seek(self, file: int, offset: int) -> Block:
        """The block in which that byte of the contents lies."""
        block = self._now if offset >= self._now.start else self._block(file, 0, 0, self._end)
        while block.length and offset >= block.start + block.length < self.size:
            block = self._block(file, block.place + block.length, block.start + block.length, self._end)
        self._now = block
        return block

    def _block(self, file: int, at: int, start: int, end: int) -> Block:
        """The block whose descriptor lies there; one without contents where there is none up to `end`."""
        none = Block(start, at, 0)
        if at >= end:
            return none
        head = os.pread(file, HEAD, at)
        if len(head) < HEAD:
            self.fault = f"the file ends in the middle of a block descriptor word, {head.hex()}"
            return none
        length = _length(head)
        if length <= HEAD:
            self.fault = (
                f"the block descriptor word is {head.hex()}, expected a length of at least 8 and 0000: are the records"
                " in blocks? Without descriptors of blocks it is `records: rdw`"
            )
            return none
        return Block(start, at + HEAD, min(at + length, end) - at - HEAD)


def _length(head: bytes) -> int:
    """0 for what is no descriptor."""
    if head[0] & 0x80:
        return int.from_bytes(head, "big") & 0x7FFFFFFF
    return 0 if any(head[2:]) else head[0] << 8 | head[1]
