"""Memory that was freed, back to the system."""

from __future__ import annotations

import ctypes
import mmap
import threading
from pathlib import Path
from typing import Final

_LIBC: Final = ctypes.CDLL(None)
_MAPS: Final = Path("/proc/self/maps")

_trimming: Final = threading.Lock()
_wanted = False


def trim() -> None:
    """After a load, an unload or a large run glibc keeps what was freed: 400 MB instead of 80 after 40 reloads of a
    model of 67 MB. Takes 0.1 to 5 ms. Does nothing with another C library.

    Where another thread is at it, that one does it once more: when 1600 models end at once, each in a thread, they
    would trim for 12 s.
    """
    global _wanted  # noqa: PLW0603 the memory is the process's
    malloc_trim = getattr(_LIBC, "malloc_trim", None)
    if malloc_trim is None:
        return
    _wanted = True
    while _wanted and _trimming.acquire(blocking=False):
        try:
            _wanted = False
            malloc_trim(0)
        finally:
            _trimming.release()


def forget_start() -> None:
    """Lets go of the libraries' code that only a start runs: 20 MB of a gateway with one small model.

    Pages of code are those of the files, whole and unchanged; what is needed after all comes back from the page cache
    at its first use, in some 0.5 µs. Does nothing but on Linux.
    """
    madvise = getattr(_LIBC, "madvise", None)
    if madvise is None or not _MAPS.exists():
        return
    for line in _MAPS.read_text().splitlines():
        # format: proc_pid_maps(5)
        span, rights, _, _, inode, *_ = line.split(maxsplit=5)
        if rights == "r-xp" and inode != "0":
            start, stop = (int(address, 16) for address in span.split("-"))
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), mmap.MADV_DONTNEED)
