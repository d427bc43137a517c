"""Files that are too large for a channel, in a private folder that the processes share."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self


class Spool:
    """`with` empties the folder, before and after: the supervisor's part, who is alone with it. Workers are given its
    path; each has a place of its own in it, which is removed when it has ended.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder

    def __enter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def settle(self, pid: int) -> None:
        """What this process puts into temporary files goes with it, however it ends."""
        place = self._place(pid)
        place.mkdir(mode=0o700, exist_ok=True)
        tempfile.tempdir = str(place)

    async def sweep(self, pid: int) -> None:
        """That process has ended."""
        await asyncio.to_thread(shutil.rmtree, self._place(pid), True)

    def _place(self, pid: int) -> Path:
        return self.folder / str(pid)

    @asynccontextmanager
    async def put(self, files: Mapping[str, bytes]) -> AsyncIterator[dict[str, str]]:
        """Name → where its content lies, for as long as the block lasts."""
        if not files:
            yield {}
            return
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self.folder))
        try:
            yield await asyncio.to_thread(_write, folder, files)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)

    async def keep(self, content: bytes) -> str:
        """Where it lies until its reader removes it."""

        def write() -> str:
            number, path = tempfile.mkstemp(dir=self.folder)
            os.close(number)
            Path(path).write_bytes(content)
            return path

        return await asyncio.to_thread(write)

    async def get(self, paths: Mapping[str, str]) -> dict[str, bytes]:
        return await asyncio.to_thread(lambda: {name: Path(path).read_bytes() for name, path in paths.items()})


def _write(folder: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    paths = {}
    for number, (name, content) in enumerate(files.items()):
        path = folder / str(number)
        path.write_bytes(content)
        paths[name] = str(path)
    return paths
