"""One lane's results and dead letters: two files in the making, and the journal that says how much of them holds."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.files.journal import Journal
from adapters.files.segment import Part, Segment
from adapters.files.settings import FilesOutput
from gateway.core.crashpoint import crash


class Entry(msgspec.Struct, frozen=True):
    """What holds. `position` is the input's; `whole`: the files are complete, and are to have their names.

    number  of files that were begun
    origin  the file that was read, of which these are the results
    """

    position: Any = None
    results: Part | None = None
    dead: Part | None = None
    whole: bool = False
    number: int = 0
    origin: str = ""


def in_the_making(journal: Path) -> set[str]:
    """Names of files that are still written to, by the journal's owner."""
    entry = msgspec.convert(Journal(journal).last().entry or {}, Entry)
    return set() if entry.whole else {part.name for part in (entry.results, entry.dead) if part is not None}


class Lane:
    """Belongs to one thread. What fails with an OSError has not happened, and may be tried again.

    stem     names files where no file is read
    growing  whether files are seen while they grow
    """

    def __init__(self, path: Path, journal: Path, settings: FilesOutput, stem: str, growing: bool) -> None:
        self._folder: Final = path
        self._dead_folder: Final = path / settings.dead_letters
        self._journal: Final = Journal(journal)
        self._settings: Final = settings
        self._stem: Final = stem
        self._growing: Final = growing
        self._entry = Entry()
        self._results: Segment | None = None
        self._dead: Segment | None = None
        self._born = 0.0

    @property
    def epoch(self) -> int:
        return self._journal.epoch

    def take_over(self) -> tuple[int, Any]:
        """Fences the old owner, and brings the files to where the journal says. Returns epoch and position."""
        self._drop()
        epoch, entry = self._journal.take_over()
        self._set(entry)
        entry = self._entry
        self._born = time.monotonic()
        with self._journal.held():
            self._journal.check()
            if entry.whole:
                self._publish()
            for segment in self._segments():
                segment.make()
        return epoch, entry.position

    def write(self, results: bytes, dead: bytes, position: Any) -> None:
        """Both, and the position, or nothing of them. Raises Fenced, OutcomeUnknown."""
        source = position if isinstance(position, dict) and position.keys() >= {"file", "name", "end"} else {}
        with self._journal.held():
            self._journal.check()
            if self._results and (self._entry.whole or self._entry.origin != source.get("file", "")):
                self._finish()
            self._begin(source, bool(dead))
            try:
                parts = _grown(self._results, results), _grown(self._dead, dead)
                if crash is not None:
                    crash.reach("before-commit")
                self._note(position, parts, source["end"] if source else self._is_full(parts[0]))
            except OSError:
                for segment in self._segments():
                    segment.undo()
                raise
            if self._entry.whole:
                with suppress(OSError):  # it holds all the same: the next write or rotation gives it its name
                    self._publish()

    def rotate(self) -> None:
        """Ends files that are old enough; those of a file that is being read end with it."""
        if self._entry.whole or time.monotonic() - self._born >= self._settings.rotate_seconds:
            self.finish()

    def finish(self) -> None:
        """Ends the files that are being made, but for those of a file that is being read. Raises Fenced."""
        if self._results and (self._entry.whole or not self._entry.origin):
            with self._journal.held():
                self._journal.check()
                self._finish()

    def end(self) -> None:
        """When its process is gone, and nobody asks for its position: ends its files, and forgets it."""
        _, entry = self._journal.take_over()
        for segment in self._set(entry):
            segment.end()
            segment.close()
        self.remove()

    def close(self) -> None:
        self._drop()
        self._journal.close()

    def remove(self) -> None:
        """When nobody will ask for its journal again."""
        self._drop()
        self._journal.remove()

    def _set(self, entry: Any) -> list[Segment]:
        self._entry = found = Entry() if entry is None else msgspec.convert(entry, Entry)
        self._results = Segment(self._folder, found.results) if found.results else None
        self._dead = Segment(self._dead_folder, found.dead) if found.dead else None
        return self._segments()

    def _begin(self, source: dict[str, Any], dead: bool) -> None:
        """The journal names files before they are there, so that none is ever forgotten."""
        if self._results is None:
            number = self._entry.number + 1
            part = self._part(self._folder, self._settings.name, source, number)
            self._append(Entry(self._entry.position, part, None, False, number, source.get("file", "")))
            self._results = Segment(self._folder, part)
            self._born = time.monotonic()
            self._results.make()
        if dead and self._dead is None:
            part = self._part(self._dead_folder, "{name}.dead.jsonl", source, self._entry.number)
            self._note(self._entry.position, (self._entry.results, part), False)
            self._dead = Segment(self._dead_folder, part)

    def _part(self, folder: Path, template: str, source: dict[str, Any], number: int) -> Part:
        if source:
            origin = Path(source["name"])
            name = template.format(name=origin.name, stem=origin.stem, suffix=origin.suffix)
        else:
            stem = f"{self._stem}-{number:06d}"
            name = template.format(name=stem, stem=stem, suffix="")
        if (folder / name).exists() or (folder / f".{name}.part").exists():
            made = Path(name)  # an earlier file of that name had other content
            name = f"{made.stem}-{source.get('file', '')[:8]}-{number}{made.suffix}"
        return Part(name, 0, self._growing)

    def _is_full(self, results: Part | None) -> bool:
        full = results is not None and results.length >= self._settings.rotate_bytes
        return full or time.monotonic() - self._born >= self._settings.rotate_seconds

    def _note(self, position: Any, parts: tuple[Part | None, Part | None], whole: bool) -> None:
        self._append(Entry(position, *parts, whole, self._entry.number, self._entry.origin))
        for segment, part in zip((self._results, self._dead), parts, strict=True):
            if segment is not None and part is not None:
                segment.hold(part)

    def _append(self, entry: Entry) -> None:
        self._journal.append(msgspec.to_builtins(entry))
        self._entry = entry

    def _finish(self) -> None:
        if not self._entry.whole:
            self._note(self._entry.position, (self._entry.results, self._entry.dead), True)
        self._publish()

    def _publish(self) -> None:
        for segment in self._segments():
            segment.publish()
        self._results = self._dead = None

    def _segments(self) -> list[Segment]:
        return [segment for segment in (self._results, self._dead) if segment is not None]

    def _drop(self) -> None:
        for segment in self._segments():
            segment.close()
        self._results = self._dead = None


def _grown(segment: Segment | None, data: bytes) -> Part | None:
    if segment is None:
        return None
    return segment.append(data) if data else segment.part
