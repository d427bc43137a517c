"""Reads a file in protobuf's wire format field by field, without its schema and without its bulk data.

The format: https://protobuf.dev/programming-guides/encoding/. A model file comes from outside, so everything
here is bounded, and whatever is wrong with it is an InvalidArgument. It is read through a window rather than
mapped into memory: a mapped file that somebody truncates while it is read kills the process with SIGBUS.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from stat import S_ISREG
from types import TracebackType
from typing import Final

from gateway.core import varint
from gateway.core.errors import InvalidArgument

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

#: begin and end of a message's content in the file
Span = tuple[int, int]
#: number, wire type, value of a varint or else begin of the content, its end, begin of the field with its tag
Field = tuple[int, int, int, int, int]

WINDOW: Final = 1 << 16
#: what one file may hold; beyond it a hostile file of tiny fields would keep a processor busy for minutes
MAX_FIELDS: Final = 20_000_000
#: of a name, a key or another text that is really read
MAX_TEXT: Final = WINDOW


def runs(*, fixed32: int = 0, fixed64: int = 0, varint: int = 0, texts: int = 0) -> re.Pattern[bytes]:
    """Matches any run of the given fields (by number): a decision tree's millions of numbers are then skipped
    by the regex engine, 100 MB in 0.4 s. Possessive: it keeps nothing for backtracking."""
    short = b"|".join(rb"[\x%02x].{%d}" % (n, n) for n in range(1, 32))
    items = []
    if fixed32:
        items.append(rb"[\x%02x].{4}" % (fixed32 << 3 | FIXED32))
    if fixed64:
        items.append(rb"[\x%02x].{8}" % (fixed64 << 3 | FIXED64))
    if varint:
        items.append(rb"[\x%02x][\x80-\xff]{0,9}+[\x00-\x7f]" % (varint << 3 | VARINT))
    if texts:
        items.append(rb"[\x%02x](?:\x00|%b)" % (texts << 3 | BYTES, short))
    return re.compile(rb"(?:%b)*+" % b"|".join(items), re.DOTALL)


class Wire:
    """One open file. Not for several threads at once."""

    def __init__(self, path: Path) -> None:
        self.name: Final = path.name
        self._base = 0
        self._window = b""
        self._fields = 0
        try:
            # not blocking, as opening a named pipe would wait for its writer
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidArgument(f"{self.name} cannot be read: {error.strerror}") from error
        status = os.fstat(self._file)
        self.size: Final = status.st_size
        if not S_ISREG(status.st_mode):
            os.close(self._file)
            raise InvalidArgument(f"{self.name} is not a regular file")

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def malformed(self, reason: str, at: int) -> InvalidArgument:
        return InvalidArgument(f"{self.name} is not a valid ONNX file: {reason} at byte {at} of {self.size}")

    def fields(self, span: Span, skip: re.Pattern[bytes] | None = None) -> Iterator[Field]:
        """The fields of the message in `span`, less those that `skip` matches."""
        position, stop = span
        while position < stop:
            i = position - self._base
            if i < 0 or i + 20 > len(self._window):
                self._fill(position)
                i = 0
            window, base = self._window, self._base
            if skip is not None:
                match = skip.match(window, i, min(len(window), stop - base))
                if match is not None and match.end() > i:
                    position = base + match.end()
                    continue
            begin = position
            try:
                tag, i = varint.read(window, i)
                number, kind = tag >> 3, tag & 7
                if not 0 < number < 1 << 29:
                    raise self.malformed(f"field number {number}", begin)
                if kind == VARINT:
                    value, i = varint.read(window, i)
                    position = end = base + i
                else:
                    if kind == BYTES:
                        length, i = varint.read(window, i)
                    elif kind == FIXED32:
                        length = 4
                    elif kind == FIXED64:
                        length = 8
                    else:
                        raise self.malformed(f"wire type {kind}", begin)
                    value = base + i
                    position = end = value + length
            except (IndexError, OverflowError) as error:
                raise self._no_number(error, begin) from None
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise self.malformed(f"more than {MAX_FIELDS} fields", begin)
            if end > stop:
                raise self.malformed(f"field {number} ends {end - stop} bytes after its message", begin)
            yield number, kind, value, end, begin

    def varints(self, span: Span) -> Iterator[int]:
        """The values of a packed field."""
        position, stop = span
        while position < stop:
            i = position - self._base
            if i < 0 or i + 20 > len(self._window):
                self._fill(position)
                i = 0
            try:
                value, i = varint.read(self._window, i)
            except (IndexError, OverflowError) as error:
                raise self._no_number(error, position) from None
            position = self._base + i
            yield value

    def data(self, begin: int, end: int) -> bytes:
        """The bytes of the file from `begin` to `end`; shorter where the file was cut meanwhile."""
        chunks = []
        while begin < end:
            chunk = os.pread(self._file, min(end - begin, 1 << 30), begin)
            if not chunk:
                break
            chunks.append(chunk)
            begin += len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def text(self, begin: int, end: int) -> str:
        if end - begin > MAX_TEXT:
            raise self.malformed(f"a name of {end - begin} bytes", begin)
        i = begin - self._base
        if i < 0 or end - self._base > len(self._window):
            self._fill(begin)
            i = 0
        try:
            return self._window[i : i + end - begin].decode()
        except UnicodeDecodeError as error:
            raise self.malformed("a name that is not UTF-8", begin) from error

    def join(self, pieces: Iterable[bytes | Span]) -> bytes:
        """One buffer of literal bytes and of ranges of this file."""
        return b"".join(piece if isinstance(piece, bytes) else self.data(*piece) for piece in pieces)

    def _fill(self, position: int) -> None:
        try:
            self._window = os.pread(self._file, WINDOW, position)
        except OSError as error:
            raise InvalidArgument(f"{self.name} cannot be read: {error.strerror}") from error
        self._base = position

    def _no_number(self, error: Exception, at: int) -> InvalidArgument:
        if isinstance(error, IndexError):
            return self.malformed("the file ends within a number", at)
        return self.malformed("a number of more than ten bytes", at)


def field(number: int, content: bytes | int) -> bytes:
    """An encoded field: of a message, a text or a number."""
    if isinstance(content, int):
        return varint.encode(number << 3 | VARINT) + varint.encode(content)
    return varint.encode(number << 3 | BYTES) + varint.encode(len(content)) + content
