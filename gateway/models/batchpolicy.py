"""How one model version queues and merges."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """How one version queues and merges. Times in seconds.

    merge           requests may be merged along the batch axis
    max_rows        the most rows of a merged batch
    delay           how long a batch waits to fill up
    instances       runs at the same time
    max_requests, max_bytes   what the queue holds
    timeout         how long a request may wait, 0 for ever; a request may shorten it if `allow_timeout`
    run_limit       after which a run is terminated, 0 for never; a limited model never runs inline
    inline_limit    predicted run time up to which a request runs on the event loop
    """

    merge: bool = True
    max_rows: int = 64
    delay: float = 0.0
    instances: int = 1
    max_requests: int = 4096
    max_bytes: int = 256 << 20
    timeout: float = 0.0
    allow_timeout: bool = True
    run_limit: float = 0.0
    inline_limit: float = 300e-6
