"""Where records begin and end in a stream of bytes. A framer keeps nothing: it is given what is left over again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from gateway.core.errors import InvalidArgument
from gateway.core.stream import DataError

Split = tuple[list[bytes], int]


class Framer(Protocol):
    def split(self, data: bytes, *, final: bool, limit: int | None = None) -> Split:
        """The whole records at the beginning of `data`, at most `limit`, and how many bytes they take.

        With `final` nothing follows: what is left is a last, maybe truncated record, for the decoder to judge.
        Raises DataError where no further record can be found.
        """
        ...

    def join(self, values: Sequence[bytes]) -> bytes:
        """Raises DataError, with its record, for a value that this framing cannot hold."""
        ...


class Lines:
    """A record ends with a line feed, before which a carriage return is dropped; empty lines are none.

    `quote` is the character within which a line end belongs to the record, as in CSV; "" for none.
    """

    def __init__(self, *, quote: str = "") -> None:
        self._quote: Final = quote.encode()

    def split(self, data: bytes, *, final: bool, limit: int | None = None) -> Split:
        end = len(data) if final else data.rfind(b"\n") + 1
        lines = data[:end].split(b"\n")
        if not lines[-1]:
            lines.pop()
        if self._quote and self._quote in data:
            lines, end = self._rejoin(lines, end, final)
        if limit is not None and len(lines) > limit:
            lines, end = _first(lines, limit, end)
        if b"\r" in data:
            lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
        if b"" in lines:
            lines = [line for line in lines if line]
        return lines, end

    def _rejoin(self, lines: list[bytes], end: int, final: bool) -> Split:
        """A record goes on as long as its quotes are odd."""
        whole: list[bytes] = []
        begun: list[bytes] = []
        for line in lines:
            odd = line.count(self._quote) & 1
            if begun:
                begun.append(line)
                if odd:
                    whole.append(b"\n".join(begun))
                    begun = []
            elif odd:
                begun = [line]
            else:
                whole.append(line)
        if begun:
            rest = b"\n".join(begun)
            if final:
                whole.append(rest)
            else:
                end -= len(rest) + 1
        return whole, end

    def join(self, values: Sequence[bytes]) -> bytes:
        text = b"".join([value + b"\n" for value in values])
        if not self._quote and text.count(b"\n") != len(values):
            for at, value in enumerate(values):
                if b"\n" in value:
                    raise DataError("a record holds a line feed: it would be two in a file of lines", at)
        return text


def _first(lines: list[bytes], limit: int, end: int) -> Split:
    """As many lines as hold `limit` that are not empty, and the empty ones that follow."""
    left = limit
    for at, line in enumerate(lines):
        if line and line != b"\r":
            if not left:
                return lines[:at], sum(map(len, lines[:at])) + at
            left -= 1
    return lines, end


class Fixed:
    """Records of `size` bytes without anything between them."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise InvalidArgument(f"records have {size} bytes, expected at least 1")
        self._size: Final = size

    def split(self, data: bytes, *, final: bool, limit: int | None = None) -> Split:
        size = self._size
        end = len(data) if final else len(data) // size * size
        if limit is not None:
            end = min(end, limit * size)
        return [data[at : at + size] for at in range(0, end, size)], end

    def join(self, values: Sequence[bytes]) -> bytes:
        for at, value in enumerate(values):
            if len(value) != self._size:
                raise DataError(f"a record has {len(value)} bytes, expected {self._size}", at)
        return b"".join(values)


class Rdw:
    """Variable records as IBM's RECFM=V: two bytes of length, big-endian and with the four of the descriptor, two of 0.

    Spanned records (RECFM=VS) are read: their segments say in the third byte whether they are the first, the last or
    one between. Format: z/OS DFSMS Using Data Sets, "Format-V records".
    """

    HEAD: Final = 4

    def split(self, data: bytes, *, final: bool, limit: int | None = None) -> Split:
        values: list[bytes] = []
        segments: list[bytes] = []
        at, end, size = 0, 0, len(data)
        while at + self.HEAD <= size and len(values) != limit:
            length, control = data[at] << 8 | data[at + 1], data[at + 2]
            if length < self.HEAD or control > _BETWEEN or data[at + 3] or (control >= _LAST) != bool(segments):
                if values:
                    return values, end  # these first: the next call says what is wrong
                raise DataError(_descriptor(data[at : at + 4], bool(segments)))
            if at + length > size:
                break
            value = data[at + self.HEAD : at + length]
            at += length
            if control:
                segments.append(value)
                if control != _LAST:
                    continue
                value, segments = b"".join(segments), []
            values.append(value)
            end = at
        if final and end < size and len(values) != limit:
            values.append(b"".join([*segments, data[at + self.HEAD :]]))
            end = size
        return values, end

    def join(self, values: Sequence[bytes]) -> bytes:
        return b"".join(self._records(values))

    def _records(self, values: Sequence[bytes]) -> Iterator[bytes]:
        for at, value in enumerate(values):
            length = len(value) + self.HEAD
            if length > 0x7FFF:
                raise DataError(f"a record of {len(value)} bytes is beyond the 32,763 of a variable record", at)
            yield length.to_bytes(2, "big") + b"\0\0" + value


#: segments of a spanned record; the first one is 1
_LAST: Final = 2
_BETWEEN: Final = 3


def _descriptor(head: bytes, open: bool) -> str:
    """What is wrong with a record descriptor word. `open`: a spanned record has begun."""
    length, control = head[0] << 8 | head[1], head[2]
    if length >= Rdw.HEAD and control <= _BETWEEN and not head[3]:
        kind = "goes on with a segment" if control >= _LAST else "begins"
        before = "a spanned record has not ended" if open else "none has begun"
        return f"the record descriptor word is {head.hex()}, with which a record {kind}, but {before}"
    return (
        f"the record descriptor word is {head.hex()}, expected a length of at least 4, and 0000 or 0100 to 0300 of a"
        " spanned record: are these variable records, and without block descriptors?"
    )


class Bdw(Rdw):
    """The same in blocks (RECFM=VB, VBS), each behind a descriptor of its length.

    `split` is given what lies in the blocks, without their descriptors: where a block ends cannot be told from within.
    """

    #: bytes of a block, at most
    BLOCK: Final = 32760

    def join(self, values: Sequence[bytes]) -> bytes:
        blocks: list[bytes] = []
        block: list[bytes] = []
        size = self.HEAD
        for at, record in enumerate(self._records(values)):
            if len(record) + self.HEAD > self.BLOCK:
                raise DataError(f"a record of {len(record) - 4} bytes is beyond the 32,752 of a block", at)
            if size + len(record) > self.BLOCK:
                blocks += [size.to_bytes(2, "big"), b"\0\0", *block]
                block, size = [], self.HEAD
            block.append(record)
            size += len(record)
        return b"".join([*blocks, size.to_bytes(2, "big"), b"\0\0", *block]) if block else b"".join(blocks)


class Whole:
    """All of the bytes are one record; no bytes are none."""

    def split(self, data: bytes, *, final: bool, limit: int | None = None) -> Split:
        if not final or not data or limit == 0:
            return [], 0
        return [data], len(data)

    def join(self, values: Sequence[bytes]) -> bytes:
        if len(values) > 1:
            raise DataError(f"{len(values)} records in one file, expected one", 1)
        return b"".join(values)
