"""Who asks, with what they may do and how much of it."""

from __future__ import annotations

from gateway.security.grant import Rights
from gateway.security.identity import Identity
from gateway.security.quota import Meter


class Principal:
    """Holds until `expires`, seconds since the epoch, and as long as its guard's `epoch` is the one it was made in."""

    __slots__ = ("epoch", "expires", "meter", "name", "rights")

    def __init__(self, identity: Identity, rights: Rights, meter: Meter | None, epoch: int) -> None:
        self.name = identity.name
        self.rights = rights
        self.meter = meter
        self.expires = identity.expires
        self.epoch = epoch

    def take_request(self) -> None:
        """Raises ResourceExhausted over the quota."""
        if self.meter is not None and self.meter.requests is not None:
            self.meter.requests.take(1.0)

    def take_rows(self, rows: int) -> None:
        """Raises ResourceExhausted over the quota, TooLarge for more rows than it ever lets pass."""
        if self.meter is not None and self.meter.rows is not None:
            self.meter.rows.take(rows)
