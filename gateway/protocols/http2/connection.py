"""One HTTP/2 connection: frames to streams. control.py has the frames that carry none of a call.

Every limit on what a peer can make the server do or hold is checked here, before anything is made of it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gateway.protocols.http2 import frames
from gateway.protocols.http2.control import Control
from gateway.protocols.http2.frames import ConnectionFailed, StreamFailed
from gateway.protocols.http2.headers import HeadReader, Malformed
from gateway.protocols.http2.sending import HIGH_WATER

if TYPE_CHECKING:
    from gateway.protocols.http2.service import Service

logger = logging.getLogger("sluice.http2")

#: frames that a header block may be cut into
CONTINUATIONS: Final = 16


class Connection(Control):
    """`own_window` limits what a stream may send to us, `whole_window` what all of them may."""

    own_window: ClassVar[int] = 1 << 20
    whole_window: ClassVar[int] = 8 << 20

    def __init__(self, service: Service[Any]) -> None:
        super().__init__(service)
        self._heads: HeadReader[Any] = HeadReader(service.head, service.limits.header_bytes)
        self._receivable = self.whole_window
        self._rest = b""
        self._next = 0
        #: of a header block that is not complete: stream, flags, what is there of it, frames
        self._block: tuple[int, int, bytearray, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(HIGH_WATER)
        peer = transport.get_extra_info("peername")
        self.peer = f"ipv{6 if ':' in peer[0] else 4}:{peer[0]}:{peer[1]}" if peer else ""
        limits = self.service.limits
        if not self.service.opened(self):
            self.transport.abort()
            return
        ssl = transport.get_extra_info("ssl_object")
        if ssl is not None and ssl.selected_alpn_protocol() != "h2":
            self.transport.abort()
            return
        own = {
            frames.MAX_CONCURRENT_STREAMS: limits.streams,
            frames.INITIAL_WINDOW_SIZE: self.own_window,
            frames.MAX_HEADER_LIST_SIZE: limits.header_bytes,
        }
        greeting = frames.settings(own) + frames.window_update(0, self.whole_window - frames.WINDOW_BYTES)
        self.transport.write(greeting)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.service.lost(self)
        streams, self.streams = self.streams, {}
        self.waiting.clear()
        for stream in streams.values():
            stream.on_lost()
        self._heads.forget()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._heard = self.service.now
        self._reading = True
        if self._rest:
            data = self._rest + data
        at = 0
        try:
            while True:
                try:
                    at = self._read(data, at)
                    break
                except StreamFailed as failed:
                    at = self._next
                    self.reset(failed.stream, failed.code)
        except ConnectionFailed as failed:
            self.fail(failed.code, failed.reason)
        except Exception:
            # ours, not the client's
            logger.exception("a connection of %s failed", self.peer)
            self.fail(frames.INTERNAL_ERROR, "internal error")
        self._rest = data[at:] if at < len(data) else b""
        self._reading = False
        self.flush()

    def _read(self, data: bytes, at: int) -> int:
        """All whole frames from there on; where the first that is not begins."""
        size = len(data)
        if not self._greeted:
            if size < len(frames.PREFACE):
                if not frames.PREFACE.startswith(data):
                    raise ConnectionFailed(frames.PROTOCOL_ERROR, "this is no HTTP/2")
                return at
            if not data.startswith(frames.PREFACE):
                raise ConnectionFailed(frames.PROTOCOL_ERROR, "this is no HTTP/2")
            self._greeted = True
            at = len(frames.PREFACE)
        unpack, least = frames.HEAD.unpack_from, frames.HEAD_BYTES
        while size - at >= least and not self._deaf:
            high, low, kind, flags, number = unpack(data, at)
            if high:
                raise ConnectionFailed(frames.FRAME_SIZE_ERROR, f"a frame has more than {frames.FRAME_BYTES} bytes")
            end = at + least + low
            if low > frames.FRAME_BYTES:
                raise ConnectionFailed(frames.FRAME_SIZE_ERROR, f"a frame has more than {frames.FRAME_BYTES} bytes")
            if end > size:
                break
            payload = data[at + least : end]
            at = self._next = end
            number &= frames.MOST
            if self._block is not None and kind != frames.CONTINUATION:
                raise ConnectionFailed(frames.PROTOCOL_ERROR, "a header block is not continued")
            if kind == frames.DATA:
                self._on_data(flags, number, payload)
            elif kind == frames.HEADERS:
                self._on_headers(flags, number, payload)
            elif kind < len(_CONTROL):
                _CONTROL[kind](self, flags, number, payload)
        return at

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        stream = self.streams.get(number)
        self._receivable -= size
        if self._receivable < 0:
            raise ConnectionFailed(frames.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if self._receivable * 2 < self.whole_window:
            self.give(0, self.whole_window - self._receivable)
            self._receivable = self.whole_window
        if stream is None or stream.ended:
            self._on_closed(number)
            return
        stream.receivable -= size
        if stream.receivable < 0:
            raise StreamFailed(number, frames.FLOW_CONTROL_ERROR)
        ended = flags & frames.END_STREAM
        if not size and not ended:
            self._spend("empty DATA frames")
        if flags & frames.PADDED:
            data = _unpadded(payload)
            stream.consumed(size - len(data))
            payload = data
        if stream.promised is not None:
            stream.promised -= len(payload)
            if stream.promised < 0 or (ended and stream.promised):
                raise StreamFailed(number, frames.PROTOCOL_ERROR)
        stream.ended = bool(ended)
        if payload:
            stream.on_data(payload)
        if ended:
            stream.on_end()

    def _on_closed(self, number: int) -> None:
        """DATA of a stream that is not open."""
        if number == 0 or number > self._last:
            raise ConnectionFailed(frames.PROTOCOL_ERROR, f"DATA of stream {number}, which is idle")
        if number not in self._cut:
            raise StreamFailed(number, frames.STREAM_CLOSED)
        self._spend("frames of streams that are closed", 0.1)

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        if flags & frames.PRIORITISED:
            if len(payload) < 5:
                raise ConnectionFailed(frames.FRAME_SIZE_ERROR, "HEADERS is too short")
            if frames.number(payload[:4]) & frames.MOST == number:
                raise ConnectionFailed(frames.PROTOCOL_ERROR, "a stream depends on itself")
            payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._on_block(flags, number, payload)
        else:
            self._block = number, flags, bytearray(payload), 0

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != number:
            raise ConnectionFailed(frames.PROTOCOL_ERROR, "CONTINUATION of nothing")
        _, first, block, count = self._block
        block += payload
        if len(block) > self.service.limits.header_bytes or count == CONTINUATIONS:
            raise ConnectionFailed(frames.ENHANCE_YOUR_CALM, "a header block is too large")
        self._block = number, first, block, count + 1
        if flags & frames.END_HEADERS:
            self._block = None
            self._on_block(first, number, bytes(block))

    def _on_block(self, flags: int, number: int, block: bytes) -> None:
        if number in self.streams:
            self._on_trailers(flags, number, block)
            return
        if not number & 1:
            raise ConnectionFailed(frames.PROTOCOL_ERROR, f"HEADERS of stream {number}")
        if number <= self._last:
            if number in self._cut:
                self._read_head(number, block, trailers=True)
                return
            raise ConnectionFailed(frames.STREAM_CLOSED, f"HEADERS of stream {number}, which is closed")
        self._last = number
        head = self._read_head(number, block)
        if self._going is not None and number > self._going:
            self._cut[number] = None
            return
        if len(self.streams) >= self.service.limits.streams:
            self._spend("streams beyond the limit")
            raise StreamFailed(number, frames.REFUSED_STREAM)
        stream = self.service.open(self, number, head)
        self.streams[number] = stream
        if flags & frames.END_STREAM:
            stream.ended = True
            stream.on_end()
        else:
            stream.on_begin()

    def _on_trailers(self, flags: int, number: int, block: bytes) -> None:
        stream = self.streams[number]
        if stream.ended:
            raise StreamFailed(number, frames.STREAM_CLOSED)
        self._read_head(number, block, trailers=True)
        if not flags & frames.END_STREAM:
            raise StreamFailed(number, frames.PROTOCOL_ERROR)
        stream.ended = True
        stream.on_end()

    def _read_head(self, number: int, block: bytes, trailers: bool = False) -> Any:
        try:
            return self._heads.read_trailers(block) if trailers else self._heads.read(block)
        except Malformed:
            raise StreamFailed(number, frames.PROTOCOL_ERROR) from None


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ConnectionFailed(frames.PROTOCOL_ERROR, "a frame is all padding")
    return payload[1 : len(payload) - payload[0]]


_CONTROL = (
    Connection._on_data,
    Connection._on_headers,
    Connection._on_priority,
    Connection._on_reset,
    Connection._on_settings,
    Connection._on_push,
    Connection._on_ping,
    Connection._on_goaway,
    Connection._on_window_update,
    Connection._on_continuation,
)
