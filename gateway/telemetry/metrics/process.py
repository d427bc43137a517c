"""What the kernel knows of this process, by the names that Prometheus gives to such figures.

Fields: proc_pid_stat(5).
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from gateway.telemetry.metrics.exposition import Family, Page, labelled

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


_BUILD = Family(
    "sluice_build_info", "gauge", "Always 1; the labels say what runs.", ("version", "python", "runtime"), "most"
)


def _each(name: str, kind: Literal["counter", "gauge"], help: str) -> Family:
    return Family(name, kind, help, joined="each")


_PROCESS: Final[tuple[tuple[Family, Callable[[ProcessFacts], float]], ...]] = (
    (_each("process_cpu_seconds_total", "counter", "User and system CPU time."), lambda p: p.cpu_seconds),
    (_each("process_resident_memory_bytes", "gauge", "Resident memory."), lambda p: p.resident_bytes),
    (_each("process_virtual_memory_bytes", "gauge", "Virtual memory."), lambda p: p.virtual_bytes),
    (_each("process_threads", "gauge", "Threads."), lambda p: p.threads),
    (_each("process_open_fds", "gauge", "Open file descriptors."), lambda p: p.open_fds),
    (_each("process_max_fds", "gauge", "The most file descriptors that may be open."), lambda p: p.max_fds),
    (_each("process_start_time_seconds", "gauge", "Start, in seconds since the epoch."), lambda p: p.started),
)

FAMILIES: Final = (_BUILD, *(family for family, _ in _PROCESS))


def write_build(page: Page, build: Mapping[str, str]) -> None:
    page.family(_BUILD)
    page.sample(_BUILD.name, labelled(_BUILD.labels, (build.get(n, "") for n in _BUILD.labels)), 1)


def write_process(page: Page) -> None:
    facts = process_facts()
    for family, read in _PROCESS:
        page.family(family)
        page.sample(family.name, "", read(facts))
