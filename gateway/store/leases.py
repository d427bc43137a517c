"""Who of several processes does what only one may do: leases by name, each with an epoch that grows.

The lease elects; the epoch, which every write can carry, fences whoever went on in spite of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Held:
    """Who has a lease, and for how many seconds more by the store's clock; below 0 it has run out."""

    owner: str
    epoch: int
    left: float


class Leases(Protocol):
    """Times are by the store's clock. All raise Unavailable when the store is gone."""

    async def acquire(self, name: str, owner: str, seconds: float) -> int | None:
        """A new epoch, greater than any before; None while another owner's lease runs."""
        ...

    async def renew(self, name: str, owner: str, epoch: int, seconds: float) -> bool:
        """False where it is another one's by now: it is not to be used any more."""
        ...

    async def release(self, name: str, owner: str, epoch: int) -> None:
        """So that another process need not wait for it to run out."""
        ...

    async def holder(self, name: str) -> Held | None: ...
