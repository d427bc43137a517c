"""Memory that was freed, back to the system."""

from __future__ import annotations

import ctypes
from typing import Final

_LIBC: Final = ctypes.CDLL(None)


def trim() -> None:
    """After a load, an unload or a large run glibc keeps what was freed: 400 MB instead of 80 after 40 reloads of a
    model of 67 MB. Takes 0.1 to 5 ms. Does nothing with another C library."""
    malloc_trim = getattr(_LIBC, "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
