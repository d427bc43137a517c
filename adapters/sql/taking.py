"""How rows become an input's own. Each way is asked for at most so many rows, and gives none where none wait."""

from __future__ import annotations

from typing import Protocol

from adapters.sql.anti_join import AntiJoin
from adapters.sql.claim import Claim
from adapters.sql.cursor import At
from adapters.sql.loan import Loan
from adapters.sql.look import Look
from adapters.sql.pool import Pool
from adapters.sql.records import Records
from adapters.sql.settings import InputSettings
from adapters.sql.taken import Place, Taken
from gateway.core.stream import Batch


class Taking(Protocol):
    async def take(self, rows: int) -> tuple[Batch, Taken | At] | None:
        """Raises Transient; cancelling it takes nothing."""
        ...

    @property
    def waiting(self) -> str:
        """FROM and WHERE of the rows that wait."""
        ...


def taking(settings: InputSettings, place: Place, records: Records, pool: Pool) -> Taking:
    """The way that the settings and the database have, of all modes but cursor."""
    if settings.mode == "anti-join":
        return AntiJoin(settings, place, records, pool)
    if settings.mode == "lease":
        return Loan(settings, place, records, pool)
    if place.dialect.skips_locked:
        return Claim(settings, place, records, pool, ordered=settings.mode == "outbox")
    return Look(settings, place, records, pool)
