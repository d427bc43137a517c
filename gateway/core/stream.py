"""The contracts of streams: what a connector is, what it promises, and what follows for the records.

An input gives batches and tokens; the runner decodes, scores, encodes, hands the result to an output, and only when
that is durable acknowledges the token. Reconnecting, backoff, drain and dead letters are the runner's: a connector
says what happened, by one of the errors below, and holds no policy.

SluiceError
├── Transient            it may work later: connection, time-out, serialisation failure, disk full  (retriable)
│   ├── Fenced           another owner has taken over: drop what is in memory, read the position again
│   └── OutcomeUnknown   a commit was sent and its answer lost: never repeat the write, fence and read the position
└── DataError            the record is at fault: sending it again cannot help; it becomes a dead letter
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

from gateway.core.errors import Internal, InvalidArgument, SluiceError, TooLarge
from gateway.core.table import Table

Headers = tuple[tuple[str, bytes], ...]


class Transient(SluiceError):
    code = "UNAVAILABLE"
    retriable = True


class Fenced(Transient):
    """Raised by `ack` and `write` for a token of an epoch that is over."""


class OutcomeUnknown(Transient):
    """The write may or may not have happened: whether it did is known only from the stored position."""


class DataError(InvalidArgument):
    """`record` is the index in its batch, -1 where the batch as a whole was refused (the runner then bisects it)."""

    def __init__(self, message: str, record: int = -1) -> None:
        super().__init__(message)
        self.record = record


def at_fault(error: SluiceError) -> bool:
    """Whether a record that failed so, alone, is to become a dead letter; else the pipeline waits and tries again.

    Internal is what the model says of values that it cannot compute. That a model, a version or a server is not there,
    or was too slow, is never the record's fault.
    """
    return isinstance(error, (InvalidArgument, TooLarge, Internal))


@dataclass(frozen=True, slots=True)
class Message:
    """One record. `value` None is a tombstone; `timestamp` is in ms since the epoch, 0 where there is none."""

    id: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages as columns of equal length, in the order of their lane. Nothing in it is changed after it was read.

    ids         topic/partition/offset, primary key and version, message id, file hash and ordinal: the same when the
                record is delivered again, and what makes a repeat recognisable
    values      bytes, None a tombstone; a Table where the source has columns
    keys        what order is kept by, and what a split sticks to; () if no record has one
    headers     () if no record has any
    timestamps  ms since the epoch; () if no record has one
    faults      index → why the source cannot give that record whole (a line without end, a broken length): it is never
                decoded, and becomes a dead letter with what there is of it
    """

    ids: Sequence[str]
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None] = ()
    headers: Sequence[Headers] = ()
    timestamps: Sequence[int] = ()
    faults: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes of values, keys and headers, for the credits; of a Table, 8 a field."""
        total = sum(map(len, filter(None, self.keys)))
        if self.headers:
            total += sum(len(value) for headers in self.headers for _, value in headers)
        if isinstance(self.values, Table):
            return total + 8 * len(self.values) * len(self.values.names)
        return total + sum(map(len, filter(None, self.values)))

    def __getitem__(self, at: int) -> Message:
        return Message(
            self.ids[at],
            self.values[at],
            self.keys[at] if self.keys else None,
            self.headers[at] if self.headers else (),
            self.timestamps[at] if self.timestamps else 0,
        )

    def take(self, at: Sequence[int]) -> Batch:
        """The records at these indexes, in this order."""
        return Batch(
            [self.ids[i] for i in at],
            taken(self.values, at),
            [self.keys[i] for i in at] if self.keys else (),
            [self.headers[i] for i in at] if self.headers else (),
            [self.timestamps[i] for i in at] if self.timestamps else (),
            {row: self.faults[i] for row, i in enumerate(at) if i in self.faults} if self.faults else self.faults,
        )

    def part(self, start: int, stop: int) -> Batch:
        faults = {row - start: why for row, why in self.faults.items() if start <= row < stop} if self.faults else {}
        at = slice(start, stop)
        return Batch(self.ids[at], self.values[at], self.keys[at], self.headers[at], self.timestamps[at], faults)

    @staticmethod
    def joined(batches: Sequence[Batch]) -> Batch:
        """These batches of one lane as one, in their order."""
        if len(batches) == 1:
            return batches[0]
        return Batch(
            [name for batch in batches for name in batch.ids],
            _joined([batch.values for batch in batches]),
            _filled([(batch.keys, len(batch)) for batch in batches], None),
            _filled([(batch.headers, len(batch)) for batch in batches], ()),
            _filled([(batch.timestamps, len(batch)) for batch in batches], 0),
            _shifted(batches),
        )

    @staticmethod
    def of(messages: Sequence[Message]) -> Batch:
        return Batch(
            [m.id for m in messages],
            [m.value for m in messages],
            [m.key for m in messages] if any(m.key is not None for m in messages) else (),
            [m.headers for m in messages] if any(m.headers for m in messages) else (),
            [m.timestamp for m in messages] if any(m.timestamp for m in messages) else (),
        )


def taken(values: Sequence[Any], at: Sequence[int]) -> Sequence[Any]:
    """Those at these indexes, of a Table as a Table."""
    return values.take(at) if isinstance(values, Table) else [values[i] for i in at]


def _joined(values: Sequence[Sequence[bytes | None]]) -> Sequence[bytes | None]:
    tables = [table for table in values if isinstance(table, Table)]
    if len(tables) == len(values) and len({table.names for table in tables}) == 1:
        return Table.joined(tables)
    return [value for part in values for value in part]


def _filled(columns: Sequence[tuple[Sequence[Any], int]], nothing: Any) -> Sequence[Any]:
    if not any(len(column) for column, _ in columns):
        return ()
    return [value for column, rows in columns for value in (column or [nothing] * rows)]


def _shifted(batches: Sequence[Batch]) -> dict[int, str]:
    found, start = {}, 0
    for batch in batches:
        for row, reason in batch.faults.items():
            found[start + row] = reason
        start += len(batch)
    return found


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
class Rows:
    """What an output is given: encoded records, each with the id, key and headers of the record it answers.

    `batch.values` are the encoded results. `source` says of what they are the result, so that an output can store the
    position, or take part in the source's transaction.
    """

    batch: Batch
    source: Token


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be scored, as it came: `redrive` puts `message` back where it was read.

    position  of its batch, as its input writes it; where the record is to be found says its id
    attempts  how often it has failed, this time among them
    model     who was asked, and the version if it was named: ``fraud/canary``
    """

    message: Message
    reason: str
    lane: str
    position: str
    attempts: int = 1
    model: str = ""


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


class Ability(Enum):
    """The best that an output can do with a record that may come again."""

    TRANSACTIONAL = "writes in the source's own transaction"
    STORES_OFFSETS = "stores the source's position in the transaction of the results"
    IDEMPOTENT = "writes by record id, so that a repeat replaces itself"
    PLAIN = "appends"


@dataclass(frozen=True, slots=True)
class Sink:
    """What an output can do.

    durable       `write` returns only when a crash of the other side loses nothing
    dead_letters  it keeps a batch's dead letters in the transaction of its results, so `write` is given them
    """

    name: str
    abilities: frozenset[Ability] = field(default_factory=lambda: frozenset({Ability.PLAIN}))
    domain: str = ""
    durable: bool = True
    dead_letters: bool = False


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


class PositionStore(Protocol):
    """An output that fences lanes and may store their positions: asked before anything of a lane is read."""

    async def take_over(self, lane: str) -> tuple[int, Any]:
        """Raises the lane's epoch, which fences its old owner, and returns it with the position to go on from.

        The position is None where none is stored here: the input then goes by its own system's, which it must not
        have read before this returned. Raises Transient.
        """
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


@dataclass(frozen=True, slots=True)
class Context:
    """What a connector is told of the pipeline that it is part of.

    pipeline   its name, by which consumer groups, transactional ids, leases and stored positions are called
    positions  the output, where it is a PositionStore and the guarantee rests on that; else None
    state      a folder of the pipeline's own, for journals; it may not be there yet
    """

    pipeline: str
    positions: PositionStore | None = None
    state: str = ""


@dataclass(frozen=True, slots=True)
class Door:
    """One side of an adapter. `settings` is a frozen msgspec Struct with a description at each field.

    open  called with such settings and the context; does nothing but build, and raises InvalidArgument where fields
          do not go together
    """

    settings: type[Any]
    open: Callable[[Any, Context], Any]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A system's doors. A module holds one as `adapter`; entry points of the group `sluice.adapters` name the module.

    input    opens an Input
    output   opens an Output
    redrive  an Output too, of the input's settings: it puts messages back to where the input reads them
    letters  (settings of the output, context, kept) → an Input that gives dead letters back, each value as it was
             written, and ends with the last one; acknowledging takes them away. The context names the pipeline whose
             letters they are. `kept`: those that the output kept with its results; else what an output for dead letters
             alone was given. No output is open meanwhile
    """

    name: str
    summary: str
    input: Door | None = None
    output: Door | None = None
    redrive: Door | None = None
    letters: Callable[[Any, Context, bool], Any] | None = None


class Delivery(Enum):
    AT_MOST_ONCE = "at most once"
    AT_LEAST_ONCE = "at least once"
    EXACTLY_ONCE = "exactly once"


@dataclass(frozen=True, slots=True)
class Guarantee:
    delivery: Delivery
    #: one sentence for the operator
    why: str

    def __str__(self) -> str:
        return f"{self.delivery.value}: {self.why}"


def guarantee(source: Source, sink: Sink, dead_letters: Sink | None = None) -> Guarantee:
    """What holds for each record of a pipeline, results and dead letters together.

    `dead_letters` is where they go, None where the output keeps them in its own transaction. Elsewhere they are written
    before the results, and outside of their transaction: once only where a repeat replaces itself.
    """
    result = _delivery(source, sink)
    if dead_letters is None:
        return result
    by_id = dead_letters.abilities & {Ability.IDEMPOTENT, Ability.PLAIN}
    dead = _delivery(source, replace(dead_letters, abilities=by_id, domain=""))
    if _RANK[dead.delivery] >= _RANK[result.delivery]:
        return result
    return Guarantee(dead.delivery, f"its results are {result}; but its dead letters are {dead}")


_RANK = {delivery: rank for rank, delivery in enumerate(Delivery)}


def _delivery(source: Source, sink: Sink) -> Guarantee:
    a, b = source.name, sink.name
    if not source.redelivers:
        return Guarantee(Delivery.AT_MOST_ONCE, f"{a} does not deliver again what was read when the process died")
    if not sink.durable:
        return Guarantee(Delivery.AT_MOST_ONCE, f"{b} does not confirm what it was given, and may lose it")
    able = sink.abilities
    if Ability.TRANSACTIONAL in able and source.domain and source.domain == sink.domain:
        return Guarantee(
            Delivery.EXACTLY_ONCE,
            f"{b} commits the results and the position in {a} in one transaction of {sink.domain}",
        )
    if Ability.STORES_OFFSETS in able and source.positions:
        return Guarantee(
            Delivery.EXACTLY_ONCE, f"{b} stores the position in {a} in the transaction of the results, under an epoch"
        )
    if Ability.IDEMPOTENT in able and source.stable_ids:
        return Guarantee(
            Delivery.EXACTLY_ONCE,
            f"{b} writes by record id, so that a record that {a} gives again replaces its own row",
        )
    return Guarantee(Delivery.AT_LEAST_ONCE, _why_repeats(source, sink))


def _why_repeats(source: Source, sink: Sink) -> str:
    a, b = source.name, sink.name
    if Ability.IDEMPOTENT in sink.abilities:
        return f"{b} writes by record id, but {a} gives a record another id when it delivers it again"
    if Ability.STORES_OFFSETS in sink.abilities:
        return f"{b} could store a position, but {a} has none that could be gone back to"
    if Ability.TRANSACTIONAL in sink.abilities:
        return f"{b} has transactions, but {a} is outside of them"
    return f"{b} appends, so that what {a} delivers again after a crash is written again"
