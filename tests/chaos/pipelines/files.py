"""A folder to a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos.pipelines.pipeline import COMMON, FIELDS, Pipeline, id_of, result_of
from chaos.pipelines.servers import Servers
from chaos.records import Record
from oracle import Result


class Files(Pipeline):
    """A folder of lines into a folder of lines, each file whole, by a journal."""

    name = "files"
    ordered = True
    locks = True
    shared = False
    repeats = True
    chunk = 2000

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self.source, self.sink = folder / "in", folder / "out"
        self.source.mkdir()
        self.disk = servers.disk(self.sink)
        self._number = 0

    def document(self) -> dict[str, Any]:
        return {
            **COMMON,
            "input": {
                "files": {
                    "path": str(self.source), "pattern": "*.jsonl", "stable_seconds": 0, "order": "name",
                    "poll_seconds": 0.1,
                }
            },
            "decode": {"format": "json"},
            "encode": {"format": "json", "fields": FIELDS},
            "output": {"files": {"path": str(self.sink)}},
            "guarantee": "exactly once",
        }  # fmt: skip

    def send(self, records: Sequence[Record]) -> None:
        self._put(b"".join(record.json + b"\n" for record in records))
        self.sent += len(records)

    def again(self) -> None:
        """A file of the same content under another name."""
        done = sorted((self.source / "done").glob("*.jsonl"))
        self._put(done[-1].read_bytes())

    def _put(self, content: bytes) -> None:
        self._number += 1
        temporary = self.folder / "next"
        temporary.write_bytes(content)
        temporary.rename(self.source / f"{self._number:06}.jsonl")

    def waiting(self) -> int:
        """A file is done when it is moved away; what is written of it until then is done, too."""
        made = [*self.sink.glob(".*.part"), *self.sink.glob("dead/.*.part")]
        return sum(map(_lines, self.source.glob("*.jsonl"))) - sum(map(_lines, made))

    def results(self) -> list[Result]:
        found = [
            json.loads(line) for path in sorted(self.sink.glob("*.jsonl")) for line in path.read_text().splitlines()
        ]
        return [result_of(each) for each in found]

    def dead(self) -> list[str]:
        lines = [
            line
            for path in sorted(self.sink.glob("dead/*"))
            if path.is_file()
            for line in path.read_text().splitlines()
        ]
        return [id_of(line) for line in lines]


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:  # it has just been done
        return 0
