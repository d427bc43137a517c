"""Memory that the processes of a server share: for each client that has a quota, up to when its buckets are spoken for.

A segment of 64-bit words: a secret for the tags, then cells of four words each: the client's tag, the time of its
requests, that of its rows, and one that is free. A cell whose times have passed says no more than none at all, so it is
anybody's to take.

What happens at each request, one read and one write of an aligned word, is not locked. Two processes that do it for one
client within the same fraction of a microsecond may count one cost instead of two; only who claims a cell waits for a
lock, for a moment, and its holder's death frees it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final

#: words of a cell
CELL: Final = 4
#: cells that a client may be in
WAYS: Final = 16
#: sets of so many, for clients with a name and as many for those without
SETS: Final = 2048
#: tries to get the lock, which is held for some microseconds
TRIES: Final = 200
#: where in a cell the times are
REQUESTS: Final = 1
ROWS: Final = 2

_HEAD: Final = WAYS * CELL
_WORDS: Final = _HEAD + 2 * SETS * WAYS * CELL
_SECRET: Final = 16


def create() -> int:
    """A new segment's file descriptor, which goes with the last process that has it. Pages that nobody is in take no
    memory."""
    number = os.memfd_create("sluice-quotas")
    os.ftruncate(number, _WORDS * 8)
    os.pwrite(number, os.urandom(_SECRET), 0)
    return number


class Cells:
    """tags     the words as numbers without a sign
    times    the same words as seconds of the monotonic clock, which is one for all processes of a machine
    """

    def __init__(self, memory: mmap.mmap, file: int | None = None) -> None:
        words = memoryview(memory)
        self.tags: Final = words.cast("Q")
        self.times: Final = words.cast("d")
        self._file: Final = file
        self._secret: Final = bytes(words[:_SECRET])

    @classmethod
    def own(cls) -> Cells:
        """Of this process alone."""
        memory = mmap.mmap(-1, _WORDS * 8)
        memory[:_SECRET] = os.urandom(_SECRET)
        return cls(memory)

    @classmethod
    def shared(cls, file: int) -> Cells:
        """`file` is what `create` returned, here or in the process that this one inherited it from."""
        return cls(mmap.mmap(file, _WORDS * 8), file)

    def tag(self, client: str) -> int:
        """Never 0. Nobody outside can choose a name so that it has another's."""
        return int.from_bytes(blake2b(client.encode(), digest_size=8, key=self._secret).digest(), "little") or 1

    def claim(self, tag: int, *, named: bool) -> int:
        """The word at which the client's cell begins: the one that it has, else one that says nothing any more, else
        that of who will be forgotten soonest."""
        first = _HEAD + (tag % SETS + (0 if named else SETS)) * WAYS * CELL
        ways = range(first, first + WAYS * CELL, CELL)
        tags = self.tags
        for at in ways:
            if tags[at] == tag:
                return at
        with self._alone():
            for at in ways:
                if tags[at] == tag:
                    return at
            at = min(ways, key=self._until)
            # in this order, whoever dies in between leaves a cell that is nobody's
            tags[at] = 0
            self.times[at + REQUESTS] = self.times[at + ROWS] = 0.0
            tags[at] = tag
            return at

    def _until(self, at: int) -> float:
        """When it will say nothing any more; before all others one that is nobody's."""
        if self.tags[at] == 0:
            return -1.0
        return max(self.times[at + REQUESTS], self.times[at + ROWS])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Or nearly: whoever was stopped with the lock does not stop everybody. Then a client may come to be in two
        cells, until one is taken by another."""
        held = self._file is not None and _lock(self._file)
        try:
            yield
        finally:
            if held and self._file is not None:
                fcntl.lockf(self._file, fcntl.LOCK_UN)


def _lock(file: int) -> bool:
    for _ in range(TRIES):
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.sched_yield()
        else:
            return True
    return False
