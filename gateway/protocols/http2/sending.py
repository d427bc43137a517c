"""What goes out on a connection: the frames of a turn of the loop together, data as far as windows and peer allow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from gateway.protocols.http2 import frames
from gateway.protocols.http2.stream import Stream

if TYPE_CHECKING:
    from gateway.protocols.http2.service import Service

#: bytes waiting in the transport from which on nothing more is given to it
HIGH_WATER: Final = 256 << 10
#: streams cut by us whose frames may still be under way
CUT: Final = 1024


class Sending(asyncio.Protocol):
    """`window` and `peer_window` limit what is sent."""

    def __init__(self, service: Service[Any]) -> None:
        self.service = service
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.streams: dict[int, Stream] = {}
        #: those of which something could not be sent yet
        self.waiting: dict[int, Stream] = {}
        self.window = self.peer_window = frames.WINDOW_BYTES
        self.peer_frame = frames.FRAME_BYTES
        #: the peer does not read what was sent
        self.paused = False
        self.closed = False
        #: seconds of the loop's clock, by the second: since when it is paused, and what was unwritten then
        self._paused_at = 0.0
        self._left = 0
        #: pings of the peer's since something was sent
        self._strikes = 0
        self._cut: dict[int, None] = {}
        self._out: list[bytes] = []
        self._reading = self._flushing = False

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
        self._drained()

    def reset(self, number: int, code: int) -> None:
        stream = self.streams.pop(number, None)
        self.waiting.pop(number, None)
        self._cut_off(number, code)
        if stream is not None:
            stream.on_lost()
        self._drained()

    def _cut_off(self, number: int, code: int) -> None:
        self._cut[number] = None
        if len(self._cut) > CUT:
            del self._cut[next(iter(self._cut))]
        self.emit(frames.reset(number, code))

    def pause_writing(self) -> None:
        self.paused = True
        self._paused_at, self._left = self.service.now, self.transport.get_write_buffer_size()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.paused = False
        self.pump()
        if not self.paused and not self.closed:
            self.transport.resume_reading()

    def _drained(self) -> None:
        """A stream is over."""
