"""A TCP proxy that can be told to misbehave: what a network does between a worker and its server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal

Mode = Literal["pass", "blackhole", "deaf", "mute", "delay", "refuse"]

#: bytes at a time
CHUNK = 1 << 16

Pair = tuple[socket.socket, socket.socket]


class Trap:
    """Waits for something that a worker says. It is passed on, and nothing comes back on that connection any more."""

    def __init__(self, wanted: Callable[[bytes], bool]) -> None:
        self._wanted = wanted
        self._sprung = threading.Event()
        self._pair: Pair | None = None

    def wait(self, limit: float) -> bool:
        """Whether it was said within so many seconds."""
        return self._sprung.wait(limit)

    def hears(self, data: bytes, pair: Pair) -> bool:
        """Whether this is it; the first alone counts."""
        if self._pair is None and self._wanted(data):
            self._pair = pair
        return self._pair == pair

    def swallows(self, pair: Pair) -> bool:
        return self._pair == pair

    def sent(self) -> None:
        self._sprung.set()


class Proxy:
    """Listens from the beginning; `target` may be set later, and may be down.

    pass       what it is there for
    blackhole  connections stay, nothing gets through either way
    deaf       what the worker says does not arrive; what the server says does
    mute       what the server says does not arrive; what the worker says does
    delay      everything takes `lag` seconds longer
    refuse     connections are cut, and new ones are cut at once

    What was held back by a hole is delivered afterwards, as TCP does.
    """

    def __init__(self, target: int = 0, lag: float = 0.2) -> None:
        self.target = target
        self.lag = lag
        self._mode: Mode = "pass"
        self._changed = threading.Condition()
        self._pairs: set[Pair] = set()
        #: those that carry nothing until all is well again
        self._hanging: set[Pair] = set()
        self._trap: Trap | None = None
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode: Mode) -> None:
        with self._changed:
            self._mode = mode
            if mode == "pass":
                self._hanging.clear()
            pairs = list(self._pairs) if mode == "refuse" else []
            self._changed.notify_all()
        for pair in pairs:
            _cut(*pair)

    def reset(self) -> None:
        """Cuts all connections once."""
        with self._changed:
            pairs = list(self._pairs)
        for pair in pairs:
            _cut(*pair)

    def hang(self) -> None:
        """The connections that are there carry nothing until `set`; new ones do."""
        with self._changed:
            self._hanging |= self._pairs

    def trap(self, wanted: Callable[[bytes], bool]) -> Trap:
        """Takes the place of the one before."""
        self._trap = Trap(wanted)
        return self._trap

    def close(self) -> None:
        self.set("refuse")
        self._listening.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if self._mode == "refuse":
                _cut(near)
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                _cut(near)
                continue
            for end in (near, far):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self._pairs.add((near, far))
            for way in ((near, far, "deaf"), (far, near, "mute")):
                threading.Thread(target=self._carry, args=(*way, (near, far)), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, hole: Mode, pair: Pair) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                trap = self._trap
                caught = trap is not None and hole == "deaf" and trap.hears(data, pair)
                with self._changed:
                    self._changed.wait_for(lambda: self._mode not in ("blackhole", hole) and pair not in self._hanging)
                    lag = self.lag if self._mode == "delay" else 0.0
                if lag:
                    time.sleep(lag)
                if trap is not None and hole == "mute" and trap.swallows(pair):
                    continue
                sink.sendall(data)
                if trap is not None and caught:
                    trap.sent()
        with self._changed:
            self._pairs.discard(pair)
            self._hanging.discard(pair)
        _cut(*pair)


def _cut(*ends: socket.socket) -> None:
    """With a reset, where the other side has anything to learn."""
    for end in ends:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            end.shutdown(socket.SHUT_RDWR)
        end.close()
