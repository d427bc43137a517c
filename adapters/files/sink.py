"""Results to files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from adapters.files.desk import Desk, on
from adapters.files.lane import Lane
from adapters.files.settings import FilesOutput
from adapters.files.shared import Shared
from gateway.core import letter
from gateway.core.errors import SluiceError
from gateway.core.stream import Ability, Context, DeadLetter, Fenced, Rows, Sink


class FilesSink:
    """An Output, and a PositionStore: a lane that was taken over has files of its own, and its position in their
    journal. The records of all other lanes are appended to files that belong to this process alone."""

    def __init__(self, settings: FilesOutput, context: Context) -> None:
        settings.check()
        self._settings: Final = settings
        self._framer: Final = settings.framer()
        self._path: Final = Path(settings.path).resolve()
        self._pipeline: Final = _name(context.pipeline) or "pipeline"
        self._journals: Final = self._path / ".sluice" / self._pipeline
        self._desk: Final = Desk()
        #: never forgotten, so that what is written with a position never lands among what is only appended
        self._lanes: Final[dict[str, Lane]] = {}
        self._shared: Final = Shared(self._path, self._journals, self._pipeline, settings)
        self._rotation: asyncio.Task[None] | None = None

    @property
    def sink(self) -> Sink:
        able = frozenset({Ability.STORES_OFFSETS, Ability.PLAIN})
        return Sink(f"folder '{self._path}'", able, f"file:{self._path}", dead_letters=True)

    async def connect(self) -> None:
        await self._desk.do(self._connect)
        if self._rotation is None:
            self._rotation = asyncio.create_task(self._rotate())

    async def take_over(self, lane: str) -> tuple[int, Any]:
        return await self._desk.do(self._take_over, lane)

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        results = self._framer.join([value or b"" for value in rows.batch.values])
        letters = b"".join([letter.encode(one) + b"\n" for one in dead])
        await self._desk.do(self._write, rows, results, letters)

    async def close(self) -> None:
        """Ends the files, but for those of a file that is still being read."""
        if self._rotation is not None:
            self._rotation.cancel()
            with suppress(asyncio.CancelledError):
                await self._rotation
            self._rotation = None
        try:
            await self._desk.do(self._close)
        finally:
            self._desk.leave()

    def _connect(self) -> None:
        with on(f"folder '{self._path}'"):
            self._shared.end_orphans()

    def _take_over(self, lane: str) -> tuple[int, Any]:
        if lane not in self._lanes:
            name = _name(lane)
            growing = bool(self._settings.growing)
            stem = f"{self._pipeline}-{name}"
            self._lanes[lane] = Lane(self._path, self._journals / f"{name}.journal", self._settings, stem, growing)
        with on(f"folder '{self._path}'"):
            return self._lanes[lane].take_over()

    def _write(self, rows: Rows, results: bytes, dead: bytes) -> None:
        lane = self._lanes.get(rows.source.lane)
        with on(f"folder '{self._path}'"):
            if lane is not None:
                if lane.epoch != rows.source.epoch:
                    raise Fenced(f"epoch {rows.source.epoch} of '{rows.source.lane}' is over, it is {lane.epoch}")
                lane.write(results, dead, rows.source.position)
            elif results or dead:
                self._shared.write(results, dead)

    async def _rotate(self) -> None:
        """Files that appear when they are whole appear also where nothing more is written."""
        while True:
            await asyncio.sleep(min(self._settings.rotate_seconds / 4, 5.0))
            with suppress(SluiceError):  # the next write meets it too, and says so
                await self._desk.do(self._rotate_all)

    def _rotate_all(self) -> None:
        with on(f"folder '{self._path}'"):
            for lane in self._lanes.values():
                with suppress(Fenced):  # its new owner ends them
                    lane.rotate()
            self._shared.rotate()

    def _close(self) -> None:
        # fenced, or a full disk: who comes next ends them
        for lane in self._lanes.values():
            with suppress(SluiceError, OSError):
                lane.finish()
            lane.close()
        with suppress(SluiceError, OSError):
            self._shared.close()
        self._shared.drop()


def _name(text: str) -> str:
    """As a file's name: what is long is cut, and told apart by its digest."""
    name = quote(text, safe="").lstrip(".")
    return name if len(name) <= 80 else f"{name[-60:]}-{sha256(text.encode()).hexdigest()[:12]}"
