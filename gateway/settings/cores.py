"""How many cores this process is really granted: by its affinity and by every cgroup above it.

Formats: https://docs.kernel.org/admin-guide/cgroup-v2.html ("cpu.max") and
https://docs.kernel.org/scheduler/sched-bwc.html (version 1: "cpu.cfs_quota_us").
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

_PROC = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")


def granted(proc: Path = _PROC, root: Path = _ROOT) -> int:
    """Whole cores, at least one. Parts do not count: threads beyond the quota would only be throttled."""
    cores = float(len(os.sched_getaffinity(0)))
    for quota in _quotas(proc, root):
        cores = min(cores, quota)
    return max(1, int(cores))


def _quotas(proc: Path, root: Path) -> Iterator[float]:
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for mount in (root, root / "unified"):
                yield from _chain(mount, path, _v2)
        elif "cpu" in controllers.split(","):
            for mount in (root / controllers, root / "cpu"):
                yield from _chain(mount, path, _v1)


def _chain(mount: Path, path: str, read: Callable[[Path], float | None]) -> Iterator[float]:
    """The quotas of every group from the process's own up to the root.

    Inside a container the path may not exist in the mount, whose root is then the container's own group.
    """
    folder = mount.joinpath(*(part for part in path.split("/") if part not in ("", "..")))
    while True:
        quota = read(folder)
        if quota is not None:
            yield quota
        if folder == mount:
            return
        folder = folder.parent


def _v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
