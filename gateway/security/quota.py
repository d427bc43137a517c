"""How much a client may ask for: token buckets of requests and of rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from gateway.core.errors import ResourceExhausted, SluiceError, TooLarge
from gateway.security.cells import REQUESTS, ROWS, Cells
from gateway.security.identity import Identity
from gateway.security.policy import whom

#: seconds by which times of that size are rounded
SLACK: Final = 1e-6

_UNITS: Final = {REQUESTS: "requests", ROWS: "rows"}

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
    """A token bucket of a client, kept in its cell as one time: when it will be full again, unless something is taken.

    That is the generic cell rate algorithm (ITU-T I.371): what is taken moves the time by as long as it takes to come
    back, and may move it no further ahead of now than a whole burst takes. Nothing has to be filled, and a time that
    has passed is a full bucket, so that a client who is forgotten then has lost and won nothing.

    kind    REQUESTS or ROWS, of the cell
    named   the client has a name, or an address only
    """

    __slots__ = ("_at", "_burst", "_cells", "_clock", "_each", "_kind", "_most", "_named", "_rate", "_tag")

    def __init__(self, cells: Cells, kind: int, tag: int, rate: Rate, clock: Clock, *, named: bool = True) -> None:
        self._cells = cells
        self._kind = kind
        self._tag = tag
        self._named = named
        self._clock = clock
        self._burst = rate.burst
        self._rate = rate.per_second
        self._each = 1.0 / rate.per_second
        self._most = rate.burst / rate.per_second + SLACK
        #: where the cell was when it was used last; at first where none is
        self._at = 0

    def take(self, cost: float) -> None:
        """Raises ResourceExhausted that says when to come again, TooLarge for what would never pass."""
        at, cells = self._at, self._cells
        if at == 0 or cells.tags[at] != self._tag:
            at = self._at = cells.claim(self._tag, named=self._named)
        now, full = self._clock(), cells.times[at + self._kind]
        full = (full if full > now else now) + cost * self._each
        if full - now > self._most:
            raise self._refusal(cost, full - now - self._most + SLACK)
        cells.times[at + self._kind] = full

    def _refusal(self, cost: float, wait: float) -> SluiceError:
        unit = _UNITS[self._kind]
        if cost > self._burst:
            return TooLarge(f"{cost:g} {unit} at once exceed this client's burst of {self._burst:g}: send fewer")
        return ResourceExhausted(f"over this client's quota of {unit}: {self._rate:g} a second", retry_after=wait)


class Meter:
    """One client's buckets; None where there is no limit."""

    __slots__ = ("requests", "rows")

    def __init__(self, cells: Cells, client: str, quota: Quota, clock: Clock, *, named: bool) -> None:
        tag = cells.tag(client)
        self.requests = self.rows = None
        if quota.requests.per_second:
            self.requests = Bucket(cells, REQUESTS, tag, quota.requests, clock, named=named)
        if quota.rows.per_second:
            self.rows = Bucket(cells, ROWS, tag, quota.rows, clock, named=named)


class Quotas:
    """`cells` is what all processes of the server count in; None: this is the only one."""

    def __init__(self, quotas: Iterable[Quota], cells: Cells | None = None, clock: Clock = time.monotonic) -> None:
        self._quotas: Final = [(whom(quota.who), quota) for quota in quotas]
        self._cells: Final = cells or (Cells.own() if self._quotas else None)
        self._clock = clock

    def __bool__(self) -> bool:
        return bool(self._quotas)

    def meter(self, identity: Identity, address: str = "") -> Meter | None:
        """Whoever asks for the same client gets the same buckets; callers without a name are told apart by their
        address. None: no limits."""
        if self._cells is None:
            return None
        for number, (pattern, quota) in enumerate(self._quotas):
            if any(pattern.fullmatch(name) for name in identity.names):
                named = identity.name != "anonymous"
                client = identity.name if named else _place(address)
                # tokens of one name may be of different groups: what one quota counts means nothing to another
                return Meter(self._cells, f"{number} {client}", quota, self._clock, named=named)
        return None


def _place(address: str) -> str:
    """An address, and of one of IPv6 the first 64 bits: the rest is its host's to choose, anew for each request."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return f"{IPv6Address(int(found) >> 64 << 64)}/64"
    return str(getattr(found, "ipv4_mapped", None) or found)
