"""One HTTP/2 connection: frames to streams, flow control, and the end of it.

Every limit on what a peer can make the server do or hold is checked here, before anything is made of it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, ClassVar

from gateway.protocols.http2 import frames
from gateway.protocols.http2.frames import ConnectionFailed, StreamFailed
from gateway.protocols.http2.headers import HeadReader, Malformed
from gateway.protocols.http2.stream import Stream

if TYPE_CHECKING:
    from gateway.protocols.http2.service import Service

logger = logging.getLogger("sluice.http2")

#: frames beyond what a call needs, which cost the peer little (pings, settings, resets, empty data): that many at
#: once, and that many more each second
BARREN, BARREN_EACH_SECOND = 1000.0, 200.0
#: bytes
SMALL = 64
#: pings more frequent than the interval, with nothing sent between them, before the connection ends
STRIKES = 2
#: frames that a header block may be cut into
CONTINUATIONS = 16
#: streams cut by us whose frames may still be under way
CUT = 1024
#: bytes waiting in the transport from which on nothing more is given to it
HIGH_WATER = 256 << 10


class Connection(asyncio.Protocol):
    """`window` and `peer_window` limit what is sent, `own_window` what a stream may send to us."""

    own_window: ClassVar[int] = 1 << 20
    #: bytes that all streams of a connection may send together before they are given more
    whole_window: ClassVar[int] = 8 << 20

    def __init__(self, service: Service[Any]) -> None:
        self.service = service
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.peer = ""
        self.streams: dict[int, Stream] = {}
        self.waiting: dict[int, Stream] = {}
        self.window = self.peer_window = frames.WINDOW_BYTES
        self.peer_frame = frames.FRAME_BYTES
        #: the peer does not read what was sent
        self.paused = False
        self.closed = False
        self._heads: HeadReader[Any] = HeadReader(service.head, service.limits.header_bytes)
        self._receivable = self.whole_window
        self._rest = frames.PREFACE[:0]
        self._greeted = False
        self._settled = False
        self._last = 0
        #: of a header block that is not complete: stream, flags, what is there of it, frames
        self._block: tuple[int, int, bytearray, int] | None = None
        self._cut: dict[int, None] = {}
        self._out: list[bytes] = []
        self._reading = self._flushing = False
        #: no stream beyond this is taken any more; None while all are
        self._going: int | None = None
        self._deaf = False
        self._barren = BARREN
        self._strikes = 0
        self._pinged = -1e9
        #: seconds of the loop's clock, by the second: when it began, when something came, since when it is paused
        self.began = self._heard = service.now
        self._paused_at = 0.0
        self._left = 0
        self._asked = 0.0
        self._leave_at = 0.0

    # ---- the transport's side

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

    def pause_writing(self) -> None:
        self.paused = True
        self._paused_at, self._left = self.service.now, self.transport.get_write_buffer_size()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.paused = False
        self.pump()
        if not self.paused and not self.closed:
            self.transport.resume_reading()

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

    # ---- what is sent

    def emit(self, data: bytes) -> None:
        """Sent with everything else of this turn of the loop."""
        self._out.append(data)
        self._strikes = 0
        if not self._reading and not self._flushing:
            self._flushing = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        self._flushing = False
        if self._out:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            if not self.closed:
                self.transport.write(data)

    def pump(self) -> None:
        """Sends of what waits, in turns, a frame each, as much as windows and the transport take."""
        moved = True
        while moved and not self.paused:
            moved = False
            for number, stream in list(self.waiting.items()):
                done = stream.send_some()
                if done is None:
                    continue
                moved = True
                if done:
                    self.waiting.pop(number, None)
                    stream.on_room()
            # what is written now may pause us
            self.flush()

    def give(self, number: int, nbytes: int) -> None:
        self.emit(frames.window_update(number, nbytes))

    def finished(self, stream: Stream) -> None:
        """Its reply is complete. What the peer still sends of its request is not looked at."""
        if self.streams.pop(stream.id, None) is not None and not stream.ended:
            self._cut_off(stream.id, frames.NO_ERROR)
        if self._going is not None:
            self._close_when_done()

    def reset(self, number: int, code: int) -> None:
        stream = self.streams.pop(number, None)
        self.waiting.pop(number, None)
        self._cut_off(number, code)
        if stream is not None:
            stream.on_lost()
        if self._going is not None:
            self._close_when_done()

    def _cut_off(self, number: int, code: int) -> None:
        self._cut[number] = None
        if len(self._cut) > CUT:
            del self._cut[next(iter(self._cut))]
        self.emit(frames.reset(number, code))

    # ---- what comes

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

    def _on_priority(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFailed(frames.PROTOCOL_ERROR, "PRIORITY of stream 0")
        if len(payload) != 5:
            raise StreamFailed(number, frames.FRAME_SIZE_ERROR)
        if frames.number(payload[:4]) & frames.MOST == number:
            raise StreamFailed(number, frames.PROTOCOL_ERROR)
        self._spend("PRIORITY frames")

    def _on_reset(self, flags: int, number: int, payload: bytes) -> None:
        if number == 0 or number > self._last:
            raise ConnectionFailed(frames.PROTOCOL_ERROR, f"RST_STREAM of stream {number}, which is idle")
        if len(payload) != 4:
            raise ConnectionFailed(frames.FRAME_SIZE_ERROR, "RST_STREAM has not 4 bytes")
        self._spend("resets")
        stream = self.streams.pop(number, None)
        self.waiting.pop(number, None)
        if stream is not None:
            stream.on_lost()
            if self._going is not None:
                self._close_when_done()

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFailed(frames.PROTOCOL_ERROR, f"SETTINGS of stream {number}")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFailed(frames.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS holds some")
            return
        self._spend("SETTINGS frames")
        for key, value in frames.read_settings(payload):
            if key == frames.INITIAL_WINDOW_SIZE:
                self._resize(value)
            elif key == frames.MAX_FRAME_SIZE:
                self.peer_frame = value
        self._settled = True
        self.emit(frames.SETTINGS_ACK)
        self.pump()

    def _resize(self, window: int) -> None:
        change = window - self.peer_window
        self.peer_window = window
        for stream in self.streams.values():
            stream.window += change
            if stream.window > frames.MOST:
                raise ConnectionFailed(frames.FLOW_CONTROL_ERROR, "a window is too large")

    def _on_push(self, flags: int, number: int, payload: bytes) -> None:
        raise ConnectionFailed(frames.PROTOCOL_ERROR, "clients push nothing")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFailed(frames.PROTOCOL_ERROR, f"PING of stream {number}")
        if len(payload) != 8:
            raise ConnectionFailed(frames.FRAME_SIZE_ERROR, "PING has not 8 bytes")
        if flags & frames.ACK:
            self._asked = 0.0
            if self._going == frames.MOST:
                self._go(self._last)
            return
        self._spend("pings")
        now = self.loop.time()
        if now - self._pinged < self.service.limits.min_ping_interval:
            self._strikes += 1
            if self._strikes > STRIKES:
                raise ConnectionFailed(frames.ENHANCE_YOUR_CALM, "too_many_pings")
        self._pinged = now
        strikes = self._strikes
        self.emit(frames.frame(frames.PING, frames.ACK, 0, payload))
        self._strikes = strikes

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFailed(frames.PROTOCOL_ERROR, f"GOAWAY of stream {number}")
        # it will close once it has its replies

    def _on_window_update(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFailed(frames.FRAME_SIZE_ERROR, "WINDOW_UPDATE has not 4 bytes")
        increment = frames.number(payload) & frames.MOST
        if not number:
            self.window += increment
            if not increment or self.window > frames.MOST:
                code = frames.FLOW_CONTROL_ERROR if increment else frames.PROTOCOL_ERROR
                raise ConnectionFailed(code, f"WINDOW_UPDATE by {increment}")
        else:
            stream = self.streams.get(number)
            if stream is None:
                if number > self._last:
                    raise ConnectionFailed(frames.PROTOCOL_ERROR, f"WINDOW_UPDATE of stream {number}, which is idle")
                return
            stream.window += increment
            if not increment or stream.window > frames.MOST:
                raise StreamFailed(number, frames.FLOW_CONTROL_ERROR if increment else frames.PROTOCOL_ERROR)
        if self.waiting:
            if increment < SMALL:
                self._spend("small WINDOW_UPDATE frames", 0.1)
            self.pump()

    def _spend(self, what: str, much: float = 1.0) -> None:
        self._barren -= much
        if self._barren < 0:
            raise ConnectionFailed(frames.ENHANCE_YOUR_CALM, f"too many {what}")

    # ---- the end

    def fail(self, code: int, reason: str) -> None:
        """Says why, and closes."""
        self._deaf = True
        if self.closed:
            return
        if self._greeted:
            logger.debug("%s: %s", self.peer, reason)
            self.emit(frames.goaway(self._last, code, reason))
        self.flush()
        self.transport.close()

    def leave(self, grace: float) -> None:
        """No new calls, but those that are under way by then; those that have begun get their replies."""
        if self._going is None and not self.closed:
            self._leave_at = self.service.now + grace if grace else 0.0
            self._going = frames.MOST
            # a call may cross this: its end is told by the ping's return
            self.emit(frames.goaway(frames.MOST, frames.NO_ERROR) + frames.frame(frames.PING, 0, 0, b"goodbye!"))

    def _go(self, last: int) -> None:
        self._going = last
        self.emit(frames.goaway(last, frames.NO_ERROR))
        self._close_when_done()

    def _close_when_done(self) -> None:
        if not self.streams and self._going != frames.MOST and not self.closed:
            self.flush()
            self.transport.close()

    def sweep(self, now: float) -> None:
        """Called once a second."""
        limits = self.service.limits
        self._barren = min(BARREN, self._barren + BARREN_EACH_SECOND)
        if self.paused:
            self._sweep_writing(now)
        elif self._deaf:
            if now - self._heard > limits.patience:
                self.transport.abort()
        elif not self._settled:
            if now - self.began > limits.handshake_timeout:
                self.transport.abort()
        elif self._asked and now - self._asked > limits.keepalive_timeout:
            self.transport.abort()
        elif not self._asked and now - self._heard > limits.keepalive_time:
            self._asked = now
            self.emit(frames.frame(frames.PING, 0, 0, b"keepaliv"))
        if self._leave_at and now > self._leave_at:
            self.transport.abort()
        elif self._going is None and limits.max_age and now - self.began > limits.max_age * self.service.jitter:
            self.leave(limits.max_age_grace)
        for stream in list(self.streams.values()):
            stream.sweep(now)

    def _sweep_writing(self, now: float) -> None:
        """A client that does not read its replies holds memory: it must make progress."""
        limits = self.service.limits
        if now - self._paused_at > limits.patience:
            left = self.transport.get_write_buffer_size()
            if self._left - left < limits.patience * limits.min_rate:
                self.transport.abort()
                return
            self._paused_at, self._left = now, left


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
