"""Where results go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from gateway.core.stream.batch import Batch
from gateway.core.stream.input import Token
from gateway.core.stream.message import DeadLetter


@dataclass(frozen=True, slots=True)
class Rows:
    """What an output is given: encoded records, each with the id, key and headers of the record it answers.

    `batch.values` are the encoded results. `source` says of what they are the result, so that an output can store the
    position, or take part in the source's transaction.
    """

    batch: Batch
    source: Token


class Ability(Enum):
    """The best that an output can do with a record that may come again."""

    TRANSACTIONAL = "writes in the source's own transaction"
    STORES_OFFSETS = "stores the source's position in the transaction of the results"
    IDEMPOTENT = "writes by record id, so that a repeat replaces itself"
    PLAIN = "appends"


@dataclass(frozen=True, slots=True)
class Sink:
    """What an output can do.

    durable       `write` returns only when a crash of the other side loses nothing. Else what is lost has to be read
                  again: that holds only in a transaction of the source's domain, which is lost as a whole
    dead_letters  it keeps a batch's dead letters in the transaction of its results, so `write` is given them
    """

    name: str
    abilities: frozenset[Ability] = field(default_factory=lambda: frozenset({Ability.PLAIN}))
    domain: str = ""
    durable: bool = True
    dead_letters: bool = False


class Output(Protocol):
    """Where results go. `write` is called by one task a lane."""

    @property
    def sink(self) -> Sink: ...

    async def connect(self) -> None: ...

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        """Returns when all is durable; before, nothing of it may be visible where it can be undone.

        `dead` are the dead letters of the same batch, for an output that keeps them in its own transaction
        (`Sink.dead_letters`); others are never given any. An output that takes part in the source's transaction, or
        stores its position, is called for a batch without rows, too: its position moves on. One that is used for dead
        letters alone is given a source without position: it stores none.

        Raises Transient, Fenced, OutcomeUnknown, or DataError for a row that it refuses. Of a DataError nothing of
        the call stays written, where that can be undone; one that stores positions had better name the row.
        """
        ...

    async def close(self) -> None: ...


class Holding(Protocol):
    """An output that the other side may ask to wait, though nothing has failed: it is short of memory, say."""

    @property
    def held(self) -> str:
        """Why a write that is under way waits, and one that begins would; "" where nothing keeps it."""
        ...


class PositionStore(Protocol):
    """An output that fences lanes and may store their positions: asked before anything of a lane is read."""

    async def take_over(self, lane: str) -> tuple[int, Any]:
        """Raises the lane's epoch, which fences its old owner, and returns it with the position to go on from.

        The position is None where none is stored here: the input then goes by its own system's, which it must not
        have read before this returned. Raises Transient.
        """
        ...
