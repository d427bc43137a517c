"""A TCP proxy that can be told to misbehave: what a network does between a worker and its server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Literal

Mode = Literal["pass", "blackhole", "deaf", "mute", "delay", "refuse"]

#: bytes at a time
CHUNK = 1 << 16


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
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._closed = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode: Mode) -> None:
        with self._changed:
            self._mode = mode
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

    def close(self) -> None:
        self._closed = True
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

    def _carry(
        self, source: socket.socket, sink: socket.socket, hole: Mode, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                with self._changed:
                    self._changed.wait_for(lambda: self._mode not in ("blackhole", hole))
                    lag = self.lag if self._mode == "delay" else 0.0
                if lag:
                    time.sleep(lag)
                sink.sendall(data)
        with self._changed:
            self._pairs.discard(pair)
        _cut(*pair)


def _cut(*ends: socket.socket) -> None:
    """With a reset, where the other side has anything to learn."""
    for end in ends:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            end.shutdown(socket.SHUT_RDWR)
        end.close()
