"""Header blocks: read with a memory for those that come again, written as literals that need no state."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from hpack import Decoder, HPACKError, OversizedHeaderListError

from gateway.protocols.http2.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ConnectionFailed

Field = tuple[bytes, bytes]
Head = TypeVar("Head")

#: blocks that are remembered of one connection
REMEMBERED: Final = 64

PSEUDO: Final = frozenset({b":method", b":scheme", b":authority", b":path"})
_CONNECTION: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_LENGTH: Final = re.compile(rb"\d{1,15}")
_VALUE: Final = re.compile(rb"[^\0\r\n]*")


class Malformed(Exception):
    """The fields are no request: an error of the stream."""


class HeadReader(Generic[Head]):
    """The heads of one connection's requests.

    A client's calls differ in nothing but their messages, and it says so in the same few bytes, which refer to the
    table that both sides keep. As long as the table stays as it was, the same bytes have the same meaning.
    """

    def __init__(self, made: Callable[[list[Field]], Head], most_bytes: int) -> None:
        self._made = made
        self._decoder = Decoder(max_header_list_size=most_bytes)
        self._known: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """Raises ConnectionFailed where both sides' tables may differ from now on, and Malformed."""
        known = self._known.get(block)
        if known is not None:
            return known
        fields, stable = self._decode(block)
        head = self._made(fields)
        if stable and len(self._known) < REMEMBERED:
            self._known[block] = head
        return head

    def read_trailers(self, block: bytes) -> None:
        """What they say is not looked at, but the table must follow. Raises as `read`."""
        for name, _ in self._decode(block)[0]:
            if not _NAME.fullmatch(name):
                raise Malformed(name)

    def forget(self) -> None:
        """What heads say may mean something else from now on."""
        self._known.clear()

    def _decode(self, block: bytes) -> tuple[list[Field], bool]:
        """And whether it left the table as it was."""
        table = self._decoder.header_table
        entries = table.dynamic_entries
        count, newest, size = len(entries), entries[0] if entries else None, table.maxsize
        try:
            fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError:
            raise ConnectionFailed(ENHANCE_YOUR_CALM, "the header list is too large") from None
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFailed(COMPRESSION_ERROR, f"a header block cannot be read: {error}") from None
        stable = len(entries) == count and (not count or entries[0] is newest) and table.maxsize == size
        if not stable:
            self._known.clear()
        return fields, stable


def check(fields: Iterable[Field]) -> tuple[dict[bytes, bytes], int | None]:
    """The pseudo-header fields, and the bytes of the body where that is said. Raises Malformed.

    Format: RFC 9113, sections 8.2 and 8.3.
    """
    pseudo: dict[bytes, bytes] = {}
    length: int | None = None
    regular = False
    for name, value in fields:
        if name[:1] == b":":
            if regular or name not in PSEUDO or name in pseudo:
                raise Malformed(name)
            pseudo[name] = value
            continue
        regular = True
        if name in _CONNECTION or (name == b"te" and value != b"trailers") or not _NAME.fullmatch(name):
            raise Malformed(name)
        if not _VALUE.fullmatch(value):
            raise Malformed(name)
        if name == b"content-length":
            if length is not None or not _LENGTH.fullmatch(value):
                raise Malformed(name)
            length = int(value)
    if not pseudo.get(b":path") or b":method" not in pseudo or b":scheme" not in pseudo:
        raise Malformed(b":path")
    return pseudo, length


def block(fields: Iterable[Field]) -> bytes:
    """As literals without indexing: no table is changed by it. Format: RFC 7541, section 6.2.2."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


def _text(value: bytes) -> bytes:
    """An integer with a prefix of 7 bits, then the octets. Format: RFC 7541, section 5."""
    size = len(value)
    if size < 127:
        return bytes((size,)) + value
    size -= 127
    prefix = bytearray(b"\x7f")
    while size >= 128:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    return bytes(prefix) + value


#: `:status: 200`, of the static table
STATUS_200: Final = b"\x88"
