"""Records that are written and not acknowledged, known from one connected time to the next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.pipeline.flight import Flight


class Written:
    """If they come again, they are not written again.

    stable   a record that comes again has the id that it had; else nothing is remembered
    """

    def __init__(self, *, stable: bool) -> None:
        self._stable: Final = stable
        #: by lane
        self._ids: Final[dict[str, set[str]]] = {}

    def remember(self, lane: str, flights: Iterable[Flight]) -> None:
        """What was written of flights that are dropped."""
        if not self._stable:
            return
        ids: set[str] = set().union(*(ids for flight in flights for ids in flight.written))
        if ids:
            self._ids.setdefault(lane, set()).update(ids)

    def leave_out(self, flight: Flight) -> int:
        """Takes out of it what is known, and returns how many records. They are acknowledged with the rest."""
        known = self._ids.get(flight.token.lane)
        if not known:
            return 0
        new = [row for row, name in enumerate(flight.batch.ids) if name not in known]
        left_out = flight.rows - len(new)
        if left_out:
            flight.written.append(known.intersection(flight.batch.ids))
            flight.batch = flight.batch.take(new)
        return left_out

    def forget(self, lane: str) -> None:
        """Something of it is acknowledged: what comes from now on is behind that."""
        self._ids.pop(lane, None)
