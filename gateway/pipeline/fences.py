"""Lanes that have another owner, as the output or the acknowledgement said."""

from __future__ import annotations

import time
from typing import Final

from gateway.core.stream import Token


class Fences:
    """Of one connected time."""

    def __init__(self) -> None:
        #: the epoch that is over, and `time.monotonic()` when that was learnt
        self._over: Final[dict[str, tuple[int, float]]] = {}
        #: those that have not come back under a later epoch
        self._missing: Final[set[str]] = set()

    def raise_at(self, lane: str, epoch: int) -> None:
        self._over[lane] = epoch, time.monotonic()
        self._missing.add(lane)

    def admit(self, token: Token) -> bool:
        """False where its epoch is over; else its lane is ours again."""
        epoch, _ = self._over.get(token.lane, (-1, 0.0))
        if token.epoch <= epoch:
            return False
        self._missing.discard(token.lane)
        return True

    def age(self, lane: str) -> float:
        """Seconds since that was learnt."""
        return time.monotonic() - self._over[lane][1]

    @property
    def missing(self) -> str:
        """A lane that has not come back; "" if all have."""
        return min(self._missing, default="")
