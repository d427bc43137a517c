"""How much a client may ask for: token buckets of requests and of rows."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from gateway.core.errors import ResourceExhausted, TooLarge
from gateway.security.identity import Identity
from gateway.security.policy import whom

#: clients whose buckets are remembered
MOST: Final = 10_000

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` on average, `burst` at once; with a rate of 0 there is no limit."""

    per_second: float
    burst: float

    @staticmethod
    def of(per_second: float, burst: int) -> Rate:
        """A burst of 0 is what one second brings, at least one."""
        return Rate(per_second, float(burst) or max(1.0, per_second))


@dataclass(frozen=True, slots=True)
class Quota:
    """Of each client that `who`, a pattern of names, fits."""

    who: str
    requests: Rate
    rows: Rate


class Bucket:
    """Fills by `rate` a second up to its burst. What costs more than is in it, but not more than the burst, waits
    until it is full and leaves a debt: so one process of several, with its share of the burst, can let it pass.

    burst   of all processes together
    share   this process's part of rate and burst
    """

    __slots__ = ("_burst", "_clock", "_level", "_rate", "_size", "_unit", "_when")

    def __init__(self, unit: str, rate: Rate, share: float, clock: Clock) -> None:
        self._unit = unit
        self._burst = rate.burst
        self._rate = rate.per_second * share
        self._size = max(1.0, rate.burst * share)
        self._clock = clock
        self._level = self._size
        self._when = clock()

    def take(self, cost: float) -> None:
        """Raises ResourceExhausted that says when to come again, TooLarge for what would never pass."""
        if cost > self._burst:
            raise TooLarge(f"{cost:g} {self._unit} at once exceed this client's burst of {self._burst:g}: send fewer")
        now = self._clock()
        level = min(self._size, self._level + (now - self._when) * self._rate)
        self._level, self._when = level, now
        short = min(cost, self._size) - level
        if short > 1e-9:
            raise ResourceExhausted(
                f"over this client's quota of {self._unit}: {self._rate:g} a second", retry_after=short / self._rate
            )
        self._level = level - cost


class Meter:
    """One client's buckets; None where there is no limit."""

    __slots__ = ("requests", "rows")

    def __init__(self, quota: Quota, share: float, clock: Clock) -> None:
        self.requests = Bucket("requests", quota.requests, share, clock) if quota.requests.per_second else None
        self.rows = Bucket("rows", quota.rows, share, clock) if quota.rows.per_second else None


class Quotas:
    """`share` is this process's part of each quota: one over the number of serving processes."""

    def __init__(self, quotas: Iterable[Quota], share: float = 1.0, clock: Clock = time.monotonic) -> None:
        self._quotas: Final = [(whom(quota.who), quota) for quota in quotas]
        self._share = share
        self._clock = clock
        #: those with a name, and those without by address: so that nobody without a name makes others be forgotten
        self._named: OrderedDict[str, Meter] = OrderedDict()
        self._nameless: OrderedDict[str, Meter] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._quotas)

    def meter(self, identity: Identity, address: str = "") -> Meter | None:
        """The same one for the same client as long as it is remembered; callers without a name are told apart by
        their address. None: no limits."""
        quota = self._quota(identity)
        if quota is None:
            return None
        meters, client = self._named, identity.name
        if identity.name == "anonymous":
            meters, client = self._nameless, address
        meter = meters.get(client)
        if meter is not None:
            meters.move_to_end(client)
            return meter
        if len(meters) >= MOST:
            meters.popitem(last=False)  # whoever was away longest: its buckets are the most likely to be full again
        meter = meters[client] = Meter(quota, self._share, self._clock)
        return meter

    def _quota(self, identity: Identity) -> Quota | None:
        for pattern, quota in self._quotas:
            if any(pattern.fullmatch(name) for name in identity.names):
                return quota
        return None
