"""A batch on its way from the input to its acknowledgement."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gateway.core.stream import Batch, Token
from gateway.pipeline.scoring.scored import Scored


@dataclass(slots=True, eq=False)
class Flight:
    """One batch that was read, or several of a lane that are scored and written together.

    read       how many records it has credit for: `batch` loses those that turn out to be written already
    tokens     of what was read, in order; the last one stands for all where a position is stored
    began      `time.monotonic()` when the first of it was read
    scored     what the model said, once it has
    parts      how many writes of it are not done yet
    written    ids of records that are done with, by writes: their result or dead letter is durable
    done       all parts are written, or it is `abandoned`: it will be read again
    """

    batch: Batch
    read: int
    tokens: list[Token]
    nbytes: int
    began: float = field(default_factory=time.monotonic)
    scored: Scored | None = None
    parts: int = 1
    written: list[Iterable[str]] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    abandoned: bool = False

    def part_done(self) -> None:
        self.parts -= 1
        if not self.parts:
            self.done.set()

    def abandon(self) -> None:
        if not self.done.is_set():
            self.abandoned = True
            self.done.set()

    @staticmethod
    def of(batch: Batch, token: Token) -> Flight:
        return Flight(batch, len(batch), [token], batch.nbytes)

    @property
    def token(self) -> Token:
        return self.tokens[-1]

    @property
    def rows(self) -> int:
        return len(self.batch)


def joined(flights: Sequence[Flight]) -> Flight:
    """Flights of one lane, in order, as one."""
    first = flights[0]
    if len(flights) == 1:
        return first
    return Flight(
        Batch.joined([flight.batch for flight in flights]),
        sum(flight.read for flight in flights),
        [token for flight in flights for token in flight.tokens],
        sum(flight.nbytes for flight in flights),
        first.began,
    )
