"""A small file system of its own, which can be filled up."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

SIZE: Final = "64m"


class Disk(AbstractContextManager["Disk"]):
    """At `path`, which is made. Who may not mount anything has none: `mounted` says so."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.mounted = False

    def __enter__(self) -> Disk:
        self.path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "sluice-chaos", str(self.path)]
        self.mounted = os.getuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    @contextmanager
    def full(self) -> Iterator[None]:
        """To the last byte."""
        ballast = self.path / ".ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                for size in (1 << 20, 1 << 12, 1):
                    _fill(file.fileno(), bytes(size))
                yield
            finally:
                ballast.unlink()


def _fill(file: int, block: bytes) -> None:
    try:
        while os.write(file, block):
            pass
    except OSError:  # there is no room left
        return
