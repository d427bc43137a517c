"""Frames that carry nothing of a call, settings, pings and the like, and how many of them a peer may send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.protocols.http2 import frames
from gateway.protocols.http2.frames import ConnectionFailed, StreamFailed
from gateway.protocols.http2.lifetime import Lifetime

if TYPE_CHECKING:
    from gateway.protocols.http2.service import Service

#: bytes of a WINDOW_UPDATE that is hardly worth its frame
SMALL: Final = 64
#: pings more frequent than the interval, with nothing sent between them, before the connection ends
STRIKES: Final = 2


class Control(Lifetime):
    """Each method takes one frame: its flags, its stream's number, its payload."""

    def __init__(self, service: Service[Any]) -> None:
        super().__init__(service)
        #: seconds of the loop's clock
        self._pinged = -1e9

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
            self._drained()

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
