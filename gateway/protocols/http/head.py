"""Heads of replies: status lines, and the header block before a body."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

STATUS_LINE: Final[dict[int, bytes]] = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
} | {499: b"HTTP/1.1 499 Client Closed Request\r\n"}

JSON: Final = b"content-type: application/json\r\n"
BINARY: Final = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n"
CLOSE: Final = b"connection: close\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

Headers = list[tuple[bytes, bytes]]
#: the last value of each field
Fields = dict[bytes, bytes]


def status_line(status: int) -> bytes:
    return STATUS_LINE.get(status) or b"HTTP/1.1 %d \r\n" % status


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Header lines. A CR or LF in a value would let an application's output write headers: it is dropped."""
    return b"".join(b"%b: %b\r\n" % (name, value.replace(b"\r", b"").replace(b"\n", b"")) for name, value in headers)
