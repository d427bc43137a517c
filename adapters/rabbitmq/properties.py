"""Properties of a message, as AMQP 0.9.1 has them in a content header."""

from __future__ import annotations

import json
import struct
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pamqp import decode
from pamqp.exceptions import PAMQPException

from gateway.core.stream import Headers

#: bytes of properties that are worth remembering
REMEMBERED: Final = 512
#: a header of a record that is a property of a message
PREFIX: Final = "amqp."

_SHORT: Final = struct.Struct(">H").unpack_from
_LONG: Final = struct.Struct(">I").unpack_from
_TIME: Final = struct.Struct(">Q").unpack_from
_TABLE: Final = struct.Struct(">I").pack
_STAMP: Final = struct.Struct(">Q").pack


class Properties(NamedTuple):
    headers: Headers = ()
    correlation_id: bytes = b""
    reply_to: bytes = b""
    message_id: bytes = b""
    #: seconds since the epoch, 0 where there is none
    timestamp: int = 0

    def as_headers(self) -> Headers:
        """Those of the message, and what is needed to answer it."""
        if not (self.correlation_id or self.reply_to):
            return self.headers
        found = list(self.headers)
        if self.correlation_id:
            found.append((f"{PREFIX}correlation_id", self.correlation_id))
        if self.reply_to:
            found.append((f"{PREFIX}reply_to", self.reply_to))
        return tuple(found)


def parse(data: bytes) -> Properties:
    """From the flags on. Raises ValueError. What a producer says with each message again is parsed once."""
    try:
        return _remembered(data) if len(data) < REMEMBERED else _parse(data)
    except (struct.error, IndexError, ValueError, KeyError, OverflowError, PAMQPException) as error:
        raise ValueError(f"its properties cannot be read: {error}") from error


@lru_cache(512)
def _remembered(data: bytes) -> Properties:
    return _parse(data)


def _parse(data: bytes) -> Properties:
    (flags,) = _SHORT(data)
    at = 2
    headers: Headers = ()
    correlation = reply = message = b""
    timestamp = 0
    for _ in range((flags >> 15 & 1) + (flags >> 14 & 1)):  # content type and encoding
        at += 1 + data[at]
    if flags & 0x2000:
        (size,) = _LONG(data, at)
        headers = _table(data[at : at + 4 + size])
        at += 4 + size
    at += (flags >> 12 & 1) + (flags >> 11 & 1)  # delivery mode and priority
    if flags & 0x0400:
        correlation, at = _text(data, at)
    if flags & 0x0200:
        reply, at = _text(data, at)
    if flags & 0x0100:  # expiration
        at += 1 + data[at]
    if flags & 0x0080:
        message, at = _text(data, at)
    if flags & 0x0040:
        (timestamp,) = _TIME(data, at)
    return Properties(headers, correlation, reply, message, timestamp)


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 1 + data[at]
    found = data[at + 1 : end]
    if len(found) != data[at]:
        raise IndexError("a short string ends beyond its header")
    return found, end


def _table(data: bytes) -> Headers:
    _, table = decode.field_table(data)
    return tuple((name, _value(value)) for name, value in table.items())


def _value(value: Any) -> bytes:
    """Text as UTF-8; what has structure, as JSON."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, default=str).encode()


@lru_cache(64)
def table(headers: Headers) -> bytes:
    """Headers as a table of texts, without those that are properties."""
    parts = []
    for name, value in headers:
        if not name.startswith(PREFIX):
            text = name.encode()[:255]
            parts.append(b"%c%bS%b%b" % (len(text), text, _TABLE(len(value)), value))
    body = b"".join(parts)
    return _TABLE(len(body)) + body


def build(
    headers: Headers, *, mode: int, content_type: bytes = b"", correlation_id: bytes = b"", reply_to: bytes = b"",
    message_id: bytes = b"", timestamp: int = 0,
) -> bytes:  # fmt: skip
    """From the flags on. Short strings have at most 255 bytes; `timestamp` is in seconds."""
    flags = 0x1000
    parts = [b"", bytes((mode,))]
    if headers and (found := table(headers)) != b"\0\0\0\0":
        flags |= 0x2000
        parts.insert(1, found)
    if content_type:
        flags |= 0x8000
        parts.insert(1, b"%c%b" % (len(content_type), content_type))
    if correlation_id:
        flags |= 0x0400
        parts.append(b"%c%b" % (len(correlation_id), correlation_id))
    if reply_to:
        flags |= 0x0200
        parts.append(b"%c%b" % (len(reply_to), reply_to))
    if message_id:
        flags |= 0x0080
        parts.append(b"%c%b" % (len(message_id), message_id))
    if timestamp:
        flags |= 0x0040
        parts.append(_STAMP(timestamp))
    parts[0] = flags.to_bytes(2, "big")
    return b"".join(parts)
