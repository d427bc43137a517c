"""Files that are too large for a channel, in a private folder that the processes share."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self


class Spool:
    """`with` removes the folder with all that is left in it. A worker is given its path and does not remove it."""

    def __init__(self, folder: str = "") -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        self.folder = tempfile.mkdtemp(prefix="sluice-spool-")  # mode 0700
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

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
