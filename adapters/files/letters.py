"""Dead letters of a folder of results, one a line, given back: a file whose letters are all done with is deleted."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from adapters.files.desk import on
from adapters.files.settings import FilesInput, FilesOutput
from adapters.files.shared import busy
from adapters.files.source import FilesSource
from gateway.core.stream import Context


class FilesLetters(FilesSource):
    """An Input. `kept`: the letters that share a transaction with results; else all files of the folder are letters.

    Files that another process still appends to are left for another time.
    """

    def __init__(self, settings: FilesOutput, context: Context, kept: bool) -> None:
        path = Path(settings.path).resolve()
        self._path: Final = path / settings.dead_letters if kept else path
        given = FilesInput(path=str(self._path), stable_seconds=0.0, follow=False, after="delete", same_content="read")
        super().__init__(given, context, partial(busy, path))

    def _open(self) -> None:
        # where there never was one, there is no folder either
        with on(f"folder '{self._path}'"):
            self._path.mkdir(parents=True, exist_ok=True)
        super()._open()
