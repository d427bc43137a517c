"""The folder that is watched: which files in it are whole, and which of them comes next."""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from pathlib import Path
from typing import Final, NamedTuple

from adapters.files.settings import FilesInput
from gateway.core.errors import InvalidArgument

logger = logging.getLogger("sluice.files")

#: names of files that somebody is still writing, or that an editor or a transfer has left
TEMPORARY: Final = re.compile(r"^\.|~$|\.(tmp|temp|part|partial|filepart|crdownload|swp|writing|inprogress)$", re.I)
#: what `redrive` writes: taken whatever the pattern is, and read though its content has been read before
REDRIVEN: Final = re.compile(r"^redriven-\d{8}T\d{6}-[0-9a-f]{12}\b")


#: bytes of a name; the names of its results are longer
NAME: Final = 180


class Found(NamedTuple):
    """A file as it was seen."""

    name: str
    size: int
    mtime: int
    inode: int


class Folder:
    """Belongs to one thread. Only plain files directly in it count: what a link points at may be anywhere."""

    def __init__(self, settings: FilesInput) -> None:
        self._settings: Final = settings
        self.path: Final = Path(settings.path).resolve()
        self._done: Final = self.path / settings.done
        #: name → what was seen, and since when
        self._seen: dict[str, tuple[Found, float]] = {}
        self._refused: set[str] = set()
        self._pending = 0

    def check(self) -> None:
        """Raises InvalidArgument where files could not be moved; an OSError where the folder is not there."""
        here = self.path.stat()
        if not stat.S_ISDIR(here.st_mode):
            raise InvalidArgument(f"files.path: '{self.path}' is no folder")
        if self._settings.after == "move":
            there = next(path for path in (self._done, *self._done.parents) if path.exists())
            if there.stat().st_dev != here.st_dev:
                raise InvalidArgument(f"files.done: '{self._done}' is in another file system than '{self.path}'")

    def whole(self) -> list[Found]:
        """Files that nobody writes to any more, the next one first."""
        now = time.monotonic()
        names = self._scan()
        self._seen = {
            name: (found, now if name not in self._seen or self._seen[name][0] != found else self._seen[name][1])
            for name, found in names.items()
        }
        ready = [found for name, (found, since) in self._seen.items() if self._is_whole(name, now - since)]
        self._pending = len(names) - len(ready)
        by_name = self._settings.order == "name"
        return sorted(ready, key=lambda found: (0 if by_name else found.mtime, found.name))

    @property
    def pending(self) -> int:
        """Files that were not whole yet when `whole` was asked, and will be."""
        return 0 if self._settings.marker else self._pending

    def all(self) -> list[Found]:
        """Files that are there, whole or not."""
        return list(self._scan().values())

    def refuse(self, name: str, reason: str) -> None:
        """Says once that a file cannot be read."""
        if name not in self._refused:
            self._refused.add(name)
            logger.warning("'%s' in %s is not read: %s", name, self.path, reason)

    def finish(self, found: Found, digest: str) -> None:
        """All of its records are done with. A file that has taken its name meanwhile is left alone.

        Not synced: where a power cut undoes it, the ledger knows the file, and it is finished again.
        """
        path = self.path / found.name
        try:
            there = path.lstat()
        except FileNotFoundError:
            return
        if (there.st_ino, there.st_size, there.st_mtime_ns) != (found.inode, found.size, found.mtime):
            return
        if self._settings.after == "move":
            self._done.mkdir(parents=True, exist_ok=True)
            target = self._done / found.name
            if target.exists():
                target = self._done / f"{target.stem}-{digest[:8]}-{found.mtime}{target.suffix}"
            path.rename(target)
        elif self._settings.after == "delete":
            path.unlink()
        if self._settings.after != "keep" and self._settings.marker:
            (self.path / f"{found.name}{self._settings.marker}").unlink(missing_ok=True)

    def _scan(self) -> dict[str, Found]:
        names: dict[str, Found] = {}
        marker = self._settings.marker
        with os.scandir(self.path) as entries:
            for entry in entries:
                name = entry.name
                if TEMPORARY.search(name) or (marker and name.endswith(marker)) or not self._takes(name):
                    continue
                if not entry.is_file(follow_symlinks=False):
                    if entry.is_symlink():
                        self.refuse(name, "it is a link, which is not followed")
                    continue
                if not name.isprintable() or len(name.encode("utf-8", "replace")) > NAME:
                    self.refuse(ascii(name), f"its name is longer than {NAME} bytes, or holds what cannot be shown")
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                names[name] = Found(name, found.st_size, found.st_mtime_ns, found.st_ino)
        return names

    def _takes(self, name: str) -> bool:
        return self._settings.takes(name) or REDRIVEN.match(name) is not None

    def _is_whole(self, name: str, age: float) -> bool:
        if REDRIVEN.match(name):
            return True
        if self._settings.marker:
            return (self.path / f"{name}{self._settings.marker}").exists()
        return age >= self._settings.stable_seconds
