"""What the kernel knows of this process, by the names that Prometheus gives to such figures.

Fields: proc_pid_stat(5).
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final, NamedTuple

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class ProcessFacts(NamedTuple):
    """Seconds, bytes and counts. `started` is in seconds since the epoch."""

    cpu_seconds: float
    resident_bytes: int
    virtual_bytes: int
    threads: int
    open_fds: int
    max_fds: int
    started: float


def process_facts() -> ProcessFacts:
    # the second field is the name of the program in brackets, and may itself hold spaces and brackets
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return ProcessFacts(
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        resident_bytes=int(fields[21]) * _PAGE,
        virtual_bytes=int(fields[20]),
        threads=int(fields[17]),
        open_fds=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        max_fds=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        started=_boot_time() + int(fields[19]) / _TICKS,
    )


def _boot_time() -> int:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    return 0
