"""The stands of the files adapter."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from contract.stands import InputStand, InputStands, OutputStand, OutputStands, values

from adapters.files import FilesInput, FilesOutput, FilesSink, FilesSource
from gateway.core.stream import Context, Input, Output, PositionStore, Token


class FilesInputStand:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = count()

    async def put(self, numbers: Sequence[int]) -> None:
        hidden = self._folder / "in" / ".writing"
        hidden.write_bytes(b"".join(value + b"\n" for value in values(numbers)))
        hidden.rename(self._folder / "in" / f"{next(self._number):03d}.jsonl")

    def open(self, positions: PositionStore | None = None) -> Input:
        settings = FilesInput(path=str(self._folder / "in"), stable_seconds=0, poll_seconds=0.02, order="name")
        return FilesSource(settings, Context("kit", positions, str(self._folder / "state")))


class FilesOutputStand:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._position = count(1)

    def open(self) -> Output:
        settings = FilesOutput(path=str(self._folder), growing=True)
        return FilesSink(settings, Context("kit"))

    async def source(self) -> Token:
        return Token("in/0", 1, next(self._position))

    async def numbers(self) -> list[int]:
        files = sorted(path for path in self._folder.glob("*.jsonl") if path.is_file())
        return [json.loads(line)["n"] for path in files for line in path.read_text().splitlines()]

    async def letters(self) -> list[str]:
        files = sorted((self._folder / "dead").glob("*.jsonl"))
        return [json.loads(line)["id"] for path in files for line in path.read_text().splitlines()]


@asynccontextmanager
async def _input() -> AsyncIterator[InputStand]:
    folder = Path(tempfile.mkdtemp(prefix="sluice-files-"))
    (folder / "in").mkdir()
    yield FilesInputStand(folder)
    shutil.rmtree(folder)


@asynccontextmanager
async def _output() -> AsyncIterator[OutputStand]:
    folder = Path(tempfile.mkdtemp(prefix="sluice-files-"))
    yield FilesOutputStand(folder)
    shutil.rmtree(folder)


@pytest.fixture
def files_input() -> InputStands:
    return _input


@pytest.fixture
def files_output() -> OutputStands:
    return _output
