"""Records from files."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from adapters.files.desk import Desk, on
from adapters.files.folder import Folder, Found
from adapters.files.journal import Journal
from adapters.files.ledger import Content, Ledger
from adapters.files.reading import Piece, Reading
from adapters.files.settings import FilesInput
from gateway.core.stream import Batch, Context, Credit, Fenced, Lag, Source, Token, Transient

logger = logging.getLogger("sluice.files")

#: seconds for which a look at the folder holds, while there are files that it has found
FRESH: Final = 2.0


class Position(msgspec.Struct, frozen=True):
    """Where to go on. Stored by outputs as a mapping of these names.

    file     SHA-256 of the file's content
    offset   of the next record, in bytes; `ordinal` is its number
    end      nothing of the file is left
    """

    file: str
    name: str
    offset: int
    ordinal: int
    end: bool


class FilesSource:
    """An Input of one lane, the folder. Files are read one after the other, each from its first record to its last.

    Where the output stores positions, the first record of a file is read when the last one of the file before it is
    acknowledged: so no write is of two files.
    """

    def __init__(self, settings: FilesInput, context: Context, busy: Callable[[], Set[str]] = frozenset) -> None:
        """busy: names of files that are not to be touched yet"""
        self._busy: Final = busy
        self._settings: Final = settings
        self._framer: Final = settings.framer()
        self._positions: Final = context.positions
        self._folder: Final = Folder(settings)
        self._lane: Final = str(self._folder.path)
        state = (
            Path(context.state) if context.state else self._folder.path / ".sluice" / quote(context.pipeline, safe="")
        )
        self._ledger: Final = Ledger(state / "contents.jsonl", settings.remember)
        self._journal: Final = Journal(state / "files.journal")
        self._desk: Final = Desk()
        self._epoch = 0
        self._resume: Position | None = None
        self._reading: Reading | None = None
        self._queue: deque[Found] = deque()
        self._looked = 0.0
        #: read to their end and not acknowledged, the oldest first
        self._ended: deque[Reading] = deque()
        self._acknowledged = asyncio.Event()
        #: files that were not read because their content had been
        self.repeated = 0

    @property
    def source(self) -> Source:
        return Source(f"folder '{self._lane}'", stable_ids=True, positions=True, ordered=True)

    async def connect(self) -> None:
        await self._desk.do(self._open)
        if self._positions is not None:
            self._epoch, position = await self._positions.take_over(self._lane)
        else:
            self._epoch, position = await self._desk.do(self._take_over)
        self._resume = None if position is None else msgspec.convert(position, Position)
        await self._desk.do(self._settle)

    async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
        while True:
            if self._positions is not None and self._ended:
                self._acknowledged.clear()
                await self._acknowledged.wait()
            elif self._reading is None and not await self._desk.do(self._next):
                if not self._settings.follow and not self._folder.pending and not self._ended:
                    return None
                await asyncio.sleep(self._settings.poll_seconds)
            elif self._reading is not None:
                piece = await self._desk.do(self._piece, self._reading, credit)
                # not in the thread: a read that was cancelled has not happened
                reading = self._reading
                reading.advance(piece)
                if piece.end:
                    self._ended.append(reading)
                    self._reading = None
                if piece.values:
                    return self._batch(reading, piece)
                await self._desk.do(self._drop_empty, reading)

    async def ack(self, token: Token) -> None:
        if token.epoch != self._epoch:
            raise Fenced(f"epoch {token.epoch} of '{self._lane}' is over, it is {self._epoch}")
        await self._desk.do(self._ack, msgspec.convert(token.position, Position))
        self._acknowledged.set()

    async def lag(self) -> Mapping[str, Lag]:
        """How many records lie in files is not known before they are read."""
        return {self._lane: Lag(seconds=await self._desk.do(self._oldest))}

    async def close(self) -> None:
        try:
            await self._desk.do(self._close)
        finally:
            self._desk.leave()

    def _open(self) -> None:
        self._close()
        with on(f"folder '{self._lane}'"):
            self._folder.check()
            self._ledger.open()

    def _take_over(self) -> tuple[int, Any]:
        with on(f"folder '{self._lane}'"):
            return self._journal.take_over()

    def _settle(self) -> None:
        """A file that was read to its end is not read again, though a crash came before it was moved."""
        resume = self._resume
        if resume is not None and resume.end:
            self._resume = None
            if self._ledger.get(resume.file) is None:
                with on(f"folder '{self._lane}'"):
                    self._ledger.add(Content(resume.file, resume.name, -1, -1))

    def _next(self) -> bool:
        """Opens the file that comes next; false where there is none."""
        with on(f"folder '{self._lane}'"):
            if not self._queue or time.monotonic() - self._looked > FRESH:
                self._look()
            while self._queue and self._reading is None:
                found = self._queue.popleft()
                if any(found == reading.found for reading in self._ended):
                    continue
                if self._ledger.knows(found.name, found.size, found.mtime):
                    self._folder.finish(found, "")
                else:
                    self._try(found)
        return self._reading is not None

    def _look(self) -> None:
        """Which files are whole. Not for each file: there may be a hundred thousand."""
        begun = self._resume.name if self._resume else ""
        busy = self._busy()
        whole = sorted(self._folder.whole(), key=lambda found: found.name != begun)
        self._queue = deque(found for found in whole if found.name not in busy)
        self._looked = time.monotonic()

    def _try(self, found: Found) -> None:
        alike = self._settings.same_content == "skip"
        reading = Reading(self._folder.path, found, self._framer, self._settings.max_record_bytes, alike)
        try:
            reading.open()
        except (FileNotFoundError, Transient):
            reading.close()  # it was taken away, or somebody still writes to it: the next look tells
            return
        except PermissionError as error:
            self._folder.refuse(found.name, str(error.strerror))
            reading.close()
            return
        except BaseException:
            reading.close()
            raise
        if any(reading.digest == other.digest for other in self._ended):
            reading.close()  # it is judged when the one with the same content is acknowledged
            return
        known = self._ledger.get(reading.digest)
        if self._resume is not None and self._resume.file == reading.digest:
            reading.begin(self._resume.offset, self._resume.ordinal)
            self._resume = None
        elif known is not None and known.offset < 0:
            self._repeat(reading, known)
            return
        elif known is not None:
            reading.begin(known.offset, known.ordinal)
        self._set_aside()
        self._reading = reading

    def _repeat(self, reading: Reading, known: Content) -> None:
        found = reading.found
        if known.name != found.name or known.size >= 0:
            self.repeated += 1
            logger.warning(
                "'%s' in %s has the content of '%s': it is not read again", found.name, self._lane, known.name
            )
        self._ledger.add(Content(reading.digest, found.name, found.size, found.mtime))
        self._folder.finish(found, reading.digest)
        reading.close()

    def _set_aside(self) -> None:
        """The file that was half-read is not there: should it come back, it goes on where it was."""
        if self._resume is None:
            return
        gone = self._resume
        logger.warning("'%s' in %s was read to byte %d and is gone", gone.name, self._lane, gone.offset)
        self._ledger.add(Content(gone.file, gone.name, -1, -1, gone.offset, gone.ordinal))
        self._resume = None

    def _piece(self, reading: Reading, credit: Credit) -> Piece:
        with on(f"file '{reading.found.name}' in '{self._lane}'"):
            return reading.piece(max(credit.rows, 1), credit.nbytes)

    def _batch(self, reading: Reading, piece: Piece) -> tuple[Batch, Token]:
        prefix = f"{reading.digest[:32]}/"
        ids = [f"{prefix}{at}" for at in range(piece.first, piece.first + len(piece.values))]
        position = Position(reading.digest, reading.found.name, reading.offset, reading.ordinal, piece.end)
        token = Token(self._lane, self._epoch, msgspec.to_builtins(position))
        return Batch(ids, piece.values, faults=piece.faults), token

    def _drop_empty(self, reading: Reading) -> None:
        """A file without a record: nobody will acknowledge it."""
        self._ended.remove(reading)
        with on(f"folder '{self._lane}'"):
            self._folder.finish(reading.found, reading.digest)
        reading.close()

    def _ack(self, position: Position) -> None:
        with on(f"folder '{self._lane}'"):
            if self._positions is None:
                with self._journal.held():
                    self._journal.check()
                    self._journal.append(msgspec.to_builtins(position))
            while self._ended and (position.end or self._ended[0].digest != position.file):
                reading = self._ended[0]
                found = reading.found
                self._ledger.add(Content(reading.digest, found.name, found.size, found.mtime))
                self._folder.finish(found, reading.digest)
                reading.close()
                self._ended.popleft()
                if reading.digest == position.file:
                    break

    def _oldest(self) -> float:
        """Seconds since the oldest file that waits was written, 0 where none does."""
        with on(f"folder '{self._lane}'"):
            files = self._folder.all()
        times = [found.mtime for found in files if not self._ledger.knows(found.name, found.size, found.mtime)]
        return max(0.0, time.time() - min(times) / 1e9) if times else 0.0

    def _close(self) -> None:
        for reading in (*self._ended, *([self._reading] if self._reading else [])):
            reading.close()
        self._ended.clear()
        self._reading = None
        self._queue.clear()
        self._ledger.close()
        self._journal.close()
