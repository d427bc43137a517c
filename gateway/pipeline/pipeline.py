"""The parts of a running stream, and what is known of it from one connected time to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.stream import Input, Lag
from gateway.pipeline.breaker import Breaker
from gateway.pipeline.delivery import Delivery
from gateway.pipeline.policy import Policy
from gateway.pipeline.scoring.scored import Scores
from gateway.pipeline.side import Side
from gateway.pipeline.status import Counters
from gateway.pipeline.written import Written


@dataclass(slots=True)
class Pipeline:
    """Belongs to the event loop.

    merges    batches of a lane may be written together
    lag_seen  `time.monotonic()` when the input said so
    stalls    how often it was connected again for want of progress: where that is of no use (a lag that counts what
              is no record, say), it is done less and less often
    narrow    the most records of a read, while a record is looked for that an output refuses; 0: no limit
    progress  `time.monotonic()` when something was last acknowledged
    model     the model's backoff, and what it is waited for
    """

    name: str
    input: Input
    input_side: Side
    scorer: Scores
    delivery: Delivery
    breaker: Breaker
    policy: Policy
    counters: Counters
    merges: bool
    written: Written
    model: Side
    sizes: dict[int, int] = field(default_factory=dict)
    lag: Mapping[str, Lag] = field(default_factory=dict)
    lag_seen: float = 0.0
    stalls: int = 0
    narrow: int = 0
    progress: float | None = None
