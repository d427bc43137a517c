"""What holds of a lane after a crash: a small log whose last entry counts."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.core.stream import Fenced, OutcomeUnknown, Transient

#: seconds to wait for another process in the middle of its entry
PATIENCE: Final = 10.0
#: bytes after which the log is written anew, with its last entry alone
LIMIT: Final = 1 << 20


class Line(msgspec.Struct):
    epoch: int
    entry: Any = None


class Journal:
    """A file of JSON lines, each on the disk before `append` returns. A last line without its end counts for nothing.

    Each take-over writes the log anew under a lock, and renames it into place: whoever still holds the old file finds
    that it is not the one with that name any more, and is fenced. The lock is held for the length of an entry only, so
    that a process that was stopped keeps nobody out.
    """

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._file = -1
        self._end = 0
        #: of the last take-over here
        self.epoch = 0

    def take_over(self) -> tuple[int, Any]:
        """Returns the new epoch, and the last entry or None. Raises Transient."""
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self.held():
            last = self.last()
            self._renew(Line(last.epoch + 1, last.entry))
        return self.epoch, last.entry

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else writes an entry, or takes over."""
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _lock(lock, self._path)
            yield
        finally:
            os.close(lock)

    def check(self) -> None:
        """Within `held`. Raises Fenced."""
        if self._file < 0:
            raise Fenced(f"{self._path} was closed: take over again")
        mine = os.fstat(self._file)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            raise Fenced(f"{self._path} is gone: somebody has removed it") from None
        if (mine.st_ino, mine.st_dev) != (there.st_ino, there.st_dev):
            raise Fenced(f"{self._path}: another process has taken over from epoch {self.epoch}")

    def append(self, entry: Any) -> None:
        """Within `held`, after `check`. After an OSError it does not hold. Raises OutcomeUnknown."""
        line = msgspec.json.encode(Line(self.epoch, entry)) + b"\n"
        if self._end + len(line) > LIMIT:
            self._renew(Line(self.epoch, entry))
            return
        try:
            put(self._file, line, self._end)
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        try:
            os.fdatasync(self._file)
        except OSError as error:
            self.close()
            raise OutcomeUnknown(
                f"{self._path}: {error.strerror}: whether the last entry is on the disk is not known"
            ) from error
        self._end += len(line)

    def remove(self) -> None:
        """When its lane is over."""
        self.close()
        for path in (self._path, self._path.with_suffix(".lock")):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def last(self) -> Line:
        """Of whoever owns it."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return Line(0)
        lines = text[: text.rfind(b"\n") + 1].splitlines() or [text]  # it came into being with a whole line
        try:
            return msgspec.json.decode(lines[-1], type=Line)
        except msgspec.DecodeError as error:
            raise Transient(f"the journal {self._path} cannot be read at line {len(lines)}: {error}") from error

    def _renew(self, line: Line) -> None:
        data = msgspec.json.encode(line) + b"\n"
        new = self._path.with_suffix(".new")
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            put(file, data, 0)
            os.fsync(file)
        except OSError:
            os.close(file)
            raise
        self.close()
        try:
            new.rename(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            os.close(file)
            raise OutcomeUnknown(f"{self._path}: {error.strerror}") from error
        self._file, self._end, self.epoch = file, len(data), line.epoch


def put(file: int, data: bytes, at: int) -> None:
    """All of it, or an OSError: a disk that is nearly full takes a part."""
    left = memoryview(data)
    while left:
        done = os.pwrite(file, left, at)
        left, at = left[done:], at + done


def sync_folder(path: Path) -> None:
    """Makes a rename or a new name in it outlive a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _lock(file: int, path: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise Transient(f"another process has held {path} for {PATIENCE:g} s: is it stopped?") from None
            time.sleep(0.01)
        else:
            return
