"""Where records come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.core.stream.batch import Batch


@dataclass(frozen=True, slots=True)
class Token:
    """Stands for a batch that was read: given back to acknowledge it, and to the output that stores the position.

    Every token is acknowledged, in the order of its lane. Batches of a lane that are small may be written together;
    `Rows.source` is then the last one's token. That is done where positions can be stored (`Source.positions`), or the
    output is outside of the source's transaction.

    lane      what is acknowledged and kept in order by itself: a partition, a queue, a file, a table
    epoch     of the ownership of that lane, growing; a token of an earlier one is refused as Fenced
    position  the connector's own: where to go on after this batch (an offset, delivery tags, a claim)
    """

    lane: str
    epoch: int
    position: Any = None


@dataclass(frozen=True, slots=True)
class Credit:
    """How much may be in flight: a read returns at most `rows`, and stops after the record that exceeds `nbytes`."""

    rows: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Source:
    """What an input can do.

    domain      names what a transaction can span (a cluster's or a database's address); "" for none
    redelivers  what was read and not acknowledged comes again after a crash
    stable_ids  a record that comes again has the id that it had
    positions   it can be told where to begin, so that its position may be stored elsewhere
    ordered     records of a key come in the order in which they were written
    shared      several processes may read it at once, because the system gives each record to one of them (a group, a
                queue, a claim); else a lease lets one process read, and the others stand by
    depth       how many batches it can have in flight, read and not acknowledged; 0: as many as the credits allow.
                1 where a batch holds the one connection's transaction
    """

    name: str
    domain: str = ""
    redelivers: bool = True
    stable_ids: bool = False
    positions: bool = False
    ordered: bool = False
    shared: bool = False
    depth: int = 0


class Input(Protocol):
    """Where records come from. One task calls it, but for `ack`, which another may call meanwhile."""

    @property
    def source(self) -> Source: ...

    async def connect(self) -> None:
        """Called again after each Transient; what was read before and not acknowledged is read again."""
        ...

    async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
        """Waits for records; None when there will be none any more (a file's or a test's end).

        Cancelling it loses no record. Raises Transient.
        """
        ...

    async def ack(self, token: Token) -> None:
        """Everything of that token, and of its lane before it, is done with. Raises Transient, Fenced."""
        ...

    async def close(self) -> None:
        """Frees what `connect` took, also half-way through it. Acknowledges nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a lane is behind: `records` that wait, and the age of the oldest in `seconds`; None: not known."""

    records: int | None = None
    seconds: float | None = None


class Lagging(Protocol):
    """An input that knows how far behind it is. Asked now and then, never for each batch."""

    async def lag(self) -> Mapping[str, Lag]:
        """By lane. May be called while `read` waits. Raises Transient."""
        ...
