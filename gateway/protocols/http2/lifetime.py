"""How a connection ends: by a failure, by a farewell, or because its peer is silent, slow or old."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any, Final

from gateway.protocols.http2 import frames
from gateway.protocols.http2.sending import Sending

if TYPE_CHECKING:
    from gateway.protocols.http2.service import Service

logger = logging.getLogger("sluice.http2")

#: frames beyond what a call needs, which cost the peer little (pings, settings, resets, empty data): that many at
#: once, and that many more each second
BARREN: Final = 1000.0
BARREN_EACH_SECOND: Final = 200.0


class Lifetime(Sending):
    """Times are seconds of the loop's clock, by the second."""

    def __init__(self, service: Service[Any]) -> None:
        super().__init__(service)
        self.peer = ""
        self.began = self._heard = service.now
        self._greeted = False
        self._settled = False
        self._last = 0
        #: no stream beyond this is taken any more; None while all are
        self._going: int | None = None
        self._deaf = False
        self._barren = BARREN
        #: when a ping of ours was sent that has no answer yet
        self._asked = 0.0
        self._leave_at = 0.0
        # spreads the ends of connections that began together, as gRPC's own servers do
        self._most_age = service.limits.max_age * random.uniform(0.9, 1.1)  # noqa: S311

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
        elif self._going is None and limits.max_age and now - self.began > self._most_age:
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

    def _drained(self) -> None:
        if self._going is not None:
            self._close_when_done()
