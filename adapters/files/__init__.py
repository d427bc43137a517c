"""Folders: whole files in, records out of them exactly once; results in files that appear when they are whole."""

from __future__ import annotations

from adapters.files.letters import FilesLetters
from adapters.files.redrive import FilesRedrive
from adapters.files.settings import FilesInput, FilesOutput
from adapters.files.sink import FilesSink
from adapters.files.source import FilesSource
from gateway.core.stream import Adapter, Door

adapter = Adapter(
    "files",
    "a watched folder of files; results as files",
    input=Door(FilesInput, FilesSource),
    output=Door(FilesOutput, FilesSink),
    redrive=Door(FilesInput, FilesRedrive),
    letters=FilesLetters,
)
