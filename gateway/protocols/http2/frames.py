"""Frames of HTTP/2: their types, their errors, and those that a server sends. Format: RFC 9113, sections 4 to 7."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x01
END_HEADERS: Final = 0x04
PADDED: Final = 0x08
PRIORITISED: Final = 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED = range(6)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(6, 12)

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)

#: of a window, of a stream's number
MOST: Final = (1 << 31) - 1
#: bytes: the least that a frame may be limited to, and what a window is at first
FRAME_BYTES: Final = 1 << 14
WINDOW_BYTES: Final = (1 << 16) - 1

#: length (its upper 8 and its lower 16 bits), type, flags, stream
HEAD: Final = Struct(">BHBBI")
HEAD_BYTES: Final = HEAD.size
_setting: Final = Struct(">HI")
_number: Final = Struct(">I")
_two: Final = Struct(">II")


class ConnectionFailed(Exception):
    """The peer broke the protocol: the connection ends with this code, and `reason` tells whoever debugs it."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class StreamFailed(Exception):
    """As above, but it concerns one stream alone."""

    def __init__(self, stream: int, code: int) -> None:
        super().__init__(stream, code)
        self.stream = stream
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def settings(values: Mapping[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_setting.pack(key, value) for key, value in values.items()))


SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Raises ConnectionFailed for values that cannot be."""
    if len(payload) % _setting.size:
        raise ConnectionFailed(FRAME_SIZE_ERROR, "SETTINGS is no multiple of 6 bytes")
    found = list(_setting.iter_unpack(payload))
    for key, value in found:
        if key == ENABLE_PUSH and value > 1:
            raise ConnectionFailed(PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH is {value}")
        if key == INITIAL_WINDOW_SIZE and value > MOST:
            raise ConnectionFailed(FLOW_CONTROL_ERROR, f"SETTINGS_INITIAL_WINDOW_SIZE is {value}")
        if key == MAX_FRAME_SIZE and not FRAME_BYTES <= value < 1 << 24:
            raise ConnectionFailed(PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE is {value}")
    return found


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _number.pack(increment))


def reset(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, _number.pack(code))


def goaway(last: int, code: int, reason: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, _two.pack(last, code) + reason.encode())


def number(payload: bytes) -> int:
    """The 32 bits of RST_STREAM or WINDOW_UPDATE."""
    found: int = _number.unpack(payload)[0]
    return found
