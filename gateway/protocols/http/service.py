"""What all connections of one listener share: limits, counters, the dataplane, the app, and the sweep."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.codecs.compression import THREADS
from gateway.codecs.wishes import Regions
from gateway.dataplane import Dataplane
from gateway.protocols.http.heads import Heads

if TYPE_CHECKING:
    from gateway.protocols.doorman import Doorman
    from gateway.protocols.http.connection import Connection

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds.

    `json_bytes` and `binary_bytes` limit infer bodies, `load_bytes` those of load calls; other bodies are JSON.
    A head must be complete within `head_timeout`. A body, and a client that reads a reply, must make progress of
    at least `min_rate` bytes a second on average, after a grace of `body_timeout`.
    """

    head_bytes: int = 32 << 10
    head_count: int = 100
    url_bytes: int = 8 << 10
    json_bytes: int = 8 << 20
    binary_bytes: int = 64 << 20
    load_bytes: int = 8 << 20
    buffered_bytes: int = 1 << 30
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    min_rate: int = 16 << 10
    pipelined: int = 32
    connections: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """Replies of at least `min_bytes` are compressed where the client accepts it; level 0 is off."""

    min_bytes: int = 1024
    level: int = 1


class Service:
    """One listener's shared state. Belongs to the event loop's thread.

    doorman   decides by a request's head whether it is read on; None: every one is
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        dataplane: Dataplane | None = None,
        regions: Regions | None = None,
        limits: Limits | None = None,
        compression: Compression | None = None,
        tracer: Any = None,
        access_log: bool = False,
        doorman: Doorman | None = None,
    ) -> None:
        self.app = app
        self.doorman = doorman
        self.infers = dataplane is not None
        self.dataplane: Dataplane = dataplane  # type: ignore[assignment]  # used only where `infers`
        self.regions = regions
        self.limits = limits or Limits()
        self.compression = compression or Compression()
        self.coding = ThreadPoolExecutor(THREADS, thread_name_prefix="sluice-coding")
        self.tracer = tracer
        self.access_log = access_log
        #: whether anybody wants to hear of each request
        self.observed = access_log or tracer is not None
        self.draining = False
        self.heads = Heads()
        self.connections: set[Connection] = set()
        #: bytes of request bodies that are held at this moment
        self.buffered = 0
        self.statuses: defaultdict[int, int] = defaultdict(int)
        self.counters: dict[str, int] = dict.fromkeys(
            ("connections", "timeouts", "oversized", "malformed", "refused"), 0
        )
        #: bytes of bodies
        self.received_bytes = 0
        self.sent_bytes = 0
        #: a clock of one second's grain: the sweep's, and what it compares with
        self.now = 0.0
        self._sweeping = False

    def opened(self, wire: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.connections.add(wire)
        self.counters["connections"] += 1
        if not self._sweeping:
            self._sweeping = True
            self.now = loop.time()
            loop.call_later(1.0, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once a second over all connections, instead of a timer for each request."""
        self.now = loop.time()
        self._sweeping = bool(self.connections)
        if self._sweeping:
            loop.call_later(1.0, self._sweep, loop)
        for wire in list(self.connections):
            wire.sweep(self.now)
