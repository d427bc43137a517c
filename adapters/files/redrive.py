"""Records put back into the folder that they came from."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from adapters.files.desk import Desk, on
from adapters.files.journal import put, sync_folder
from adapters.files.settings import FilesInput
from gateway.core.framing import Whole
from gateway.core.stream import Context, DataError, DeadLetter, Rows, Sink


class FilesRedrive:
    """An Output: each write is a file of its own, which appears when it is whole."""

    def __init__(self, settings: FilesInput, context: Context) -> None:
        self._settings: Final = settings
        self._framer: Final = settings.framer()
        self._path: Final = Path(settings.path).resolve()
        self._desk: Final = Desk()

    @property
    def sink(self) -> Sink:
        return Sink(f"folder '{self._path}'")

    async def connect(self) -> None:
        await self._desk.do(self._check)

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        values = []
        for at, value in enumerate(rows.batch.values):
            if value is None:
                raise DataError("a record without a value cannot be in a file", at)
            values.append(value)
        files = [[value] for value in values] if isinstance(self._framer, Whole) else [values]
        for one in files:
            if one:
                await self._desk.do(self._write, self._framer.join(one))

    async def close(self) -> None:
        self._desk.leave()

    def _check(self) -> None:
        with on(f"folder '{self._path}'"):
            self._path.stat()

    def _write(self, data: bytes) -> None:
        name = f"redriven-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(6)}"
        hidden = self._path / f".{name}.part"
        with on(f"folder '{self._path}'"):
            try:
                file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                try:
                    put(file, data, 0)
                    os.fsync(file)
                finally:
                    os.close(file)
                hidden.rename(self._path / name)
            except OSError:
                hidden.unlink(missing_ok=True)
                raise
            sync_folder(self._path)
