"""Files that are appended to by one process, whatever lane a record comes from."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from adapters.files.lane import Lane, in_the_making
from adapters.files.settings import FilesOutput
from gateway.core.errors import SluiceError


class Shared:
    """A process holds a lock on what it writes for as long as it lives: so the next one knows what it may end."""

    def __init__(self, path: Path, journals: Path, pipeline: str, settings: FilesOutput) -> None:
        self._path: Final = path
        self._journals: Final = journals
        self._pipeline: Final = pipeline
        self._settings: Final = settings
        self._lane: Lane | None = None
        self._alive: tuple[Path, int] | None = None

    def write(self, results: bytes, dead: bytes) -> None:
        """May be tried again. Raises OutcomeUnknown, after which records may be there twice."""
        try:
            if self._lane is None:
                self._lane = self._begin()
            self._lane.write(results, dead, None)
        except SluiceError:
            self.drop()
            raise

    def rotate(self) -> None:
        if self._lane is not None:
            self._lane.rotate()

    def end_orphans(self) -> None:
        """Of processes that are gone: what does not hold is cut off, and the files are ended."""
        self._journals.mkdir(parents=True, exist_ok=True)
        for alive in sorted(self._journals.glob("shared-*.alive")):
            with _alone(alive) as gone:
                if gone:
                    Lane(self._path, alive.with_suffix(".journal"), self._settings, "", False).end()
                    alive.unlink()

    def close(self) -> None:
        """Ends the files."""
        if self._lane is not None and self._alive is not None:
            self._lane.finish()
            self._lane.remove()
            self._alive[0].unlink(missing_ok=True)
        self.drop()

    def drop(self) -> None:
        """Leaves all as it is, for `end_orphans`."""
        if self._lane is not None:
            self._lane.close()
            self._lane = None
        if self._alive is not None:
            os.close(self._alive[1])
            self._alive = None

    def _begin(self) -> Lane:
        self.drop()  # what an earlier try has left
        self.end_orphans()
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        journal = self._journals / f"shared-{name}.journal"
        alive = journal.with_suffix(".alive")
        file = os.open(alive, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._alive = alive, file
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        growing = self._settings.growing is not False
        lane = Lane(self._path, journal, self._settings, f"{self._pipeline}-{name}", growing)
        lane.take_over()
        return lane


def busy(path: Path) -> set[str]:
    """Names of files below it that are not ended: of processes that live, and of lanes that go on where they were."""
    names: set[str] = set()
    for journal in path.glob(".sluice/*/*.journal"):
        alive = journal.with_suffix(".alive")
        if alive.exists():
            with _alone(alive) as gone:
                if gone:
                    continue
        names |= in_the_making(journal)
    return names


@contextmanager
def _alone(alive: Path) -> Iterator[bool]:
    """Whether the process is gone that held this lock for as long as it lived."""
    file = os.open(alive, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(file)
