"""What an operator is told of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.core.stream import Lag

State = Literal["starting", "running", "waiting", "pausing", "paused", "draining", "stopped", "finished"]


@dataclass(slots=True)
class Counters:
    """Since the start; written by the event loop's thread only.

    nbytes      of the values that were read
    retries     waits after a failure
    suppressed  records that came again after they had been written, and were not written again
    skipped     records that nothing is to come of: a deleted row, a tombstone
    dropped     records that were read and dropped, to be read again: by whom, if their lane has gone to another owner
    """

    read: int = 0
    scored: int = 0
    written: int = 0
    dead: int = 0
    acknowledged: int = 0
    nbytes: int = 0
    batches: int = 0
    retries: int = 0
    reconnects: int = 0
    suppressed: int = 0
    skipped: int = 0
    dropped: int = 0
    fenced: int = 0


@dataclass(slots=True, kw_only=True)
class Status(Counters):
    """A snapshot. Times are seconds ago; None: never.

    reason      why it is not running, or "": who waits for what, who paused it
    guarantee   "exactly once: …", see core.stream.guarantee
    in_flight   records that were read and are not acknowledged; `in_flight_bytes` of their values
    oldest      for how long the oldest of them has been in flight
    progress    since when nothing was acknowledged
    lag         by lane, of an input that knows it, as of its last answer
    sizes       records of a batch as it was scored, by powers of two: 2ⁿ → batches of up to so many, more than half
    lanes       how many lanes have something in flight
    """

    name: str
    state: State
    reason: str
    guarantee: str
    trips: int = 0
    in_flight: int = 0
    in_flight_bytes: int = 0
    lanes: int = 0
    oldest: float | None = None
    progress: float | None = None
    lag: Mapping[str, Lag] = field(default_factory=dict)
    sizes: Mapping[int, int] = field(default_factory=dict)
