"""One gateway, one state folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gateway.core.errors import Unavailable


class FolderLock:
    """Held by the process until `release`, and given up by the kernel if the process dies."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._file = -1

    def acquire(self) -> None:
        """Creates the folder where needed, for its owner alone. Raises Unavailable."""
        folder = self._path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(
                f"state folder '{folder}' cannot be written: {error.strerror};"
                " name another one with --state or SLUICE_STATE"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise Unavailable(
                f"state folder '{folder}' is in use by another gateway (process {owner});"
                " stop it, or name another folder with --state or SLUICE_STATE"
            ) from error
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file

    def release(self) -> None:
        # The file stays: whoever removes a lock file removes it under the feet of the next owner.
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
