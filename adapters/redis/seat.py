"""Which of the processes of a host that share a stream one is, from restart to restart."""

from __future__ import annotations

import fcntl
import os
from itertools import count
from pathlib import Path

from gateway.core.stream import Transient


class Seat:
    """The lowest number that no other process has which was given the same folder. Whoever dies, leaves."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._file = -1

    def take(self) -> int:
        """0 without a folder. Raises Transient where it cannot be written."""
        self.leave()
        if not self._folder:
            return 0
        folder = Path(self._folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number in count():
                file = os.open(folder / f"consumer-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(file)
                    continue
                self._file = file
                return number
        except OSError as error:
            raise Transient(f"'{folder}' cannot be written: {error.strerror}") from error
        raise AssertionError("numbers do not end")

    def leave(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
