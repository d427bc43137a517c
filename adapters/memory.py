"""Topics within the process: for tests, dry runs, and whoever feeds a pipeline from Python.

A topic is known by its name to everything in the process, and gone with it. It can do whatever a real system can, one
at a time, and fail on demand, by a seed: a pipeline that is tried on it has met every kind of failure.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from gateway.core.errors import InvalidArgument
from gateway.core.stream import (
    Ability,
    Adapter,
    Batch,
    Context,
    Credit,
    DataError,
    DeadLetter,
    Door,
    Fenced,
    Lag,
    Message,
    OutcomeUnknown,
    Rows,
    Sink,
    Source,
    Token,
    Transient,
)

Chance = Annotated[float, Meta(ge=0, le=1)]


class Faults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Failures on purpose: the share of calls that fail so."""

    seed: Annotated[int, Meta(description="The same seed, the same failures.")] = 0
    connect: Annotated[Chance, Meta(description="It is not there.")] = 0.0
    read: Annotated[Chance, Meta(description="The connection breaks.")] = 0.0
    acknowledge: Annotated[Chance, Meta(description="The connection breaks.")] = 0.0
    fence: Annotated[Chance, Meta(description="The lane goes to another owner, and comes back.")] = 0.0
    write: Annotated[Chance, Meta(description="The connection breaks, nothing is written.")] = 0.0
    unknown: Annotated[Chance, Meta(description="The answer is lost: every other time it was written.")] = 0.0
    refuse: Annotated[str, Meta(description="Records whose value has this text in it are refused.")] = ""
    anonymous: Annotated[bool, Meta(description="Such a refusal does not say which record it was.")] = False
    delay: Annotated[float, Meta(ge=0, description="Seconds that each write takes.")] = 0.0


class MemorySource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reads a topic."""

    topic: Annotated[str, Meta(min_length=1, description="Its name.")]
    ends: Annotated[bool, Meta(description="The input ends with the last record that is there.")] = False
    faults: Faults = Faults()


class MemorySink(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Writes to a topic."""

    topic: Annotated[str, Meta(min_length=1, description="Its name.")]
    ability: Annotated[
        Literal["plain", "idempotent", "stores_offsets", "transactional"],
        Meta(description="What it does about records that come again."),
    ] = "plain"
    dead_letters: Annotated[bool, Meta(description="It keeps dead letters, too, in the same write.")] = False
    capacity: Annotated[int, Meta(ge=0, description="Records; then it is full. 0: no limit.")] = 0
    faults: Faults = Faults()


@dataclass(slots=True)
class Log:
    """One lane of a topic, as columns that only grow."""

    ids: list[str] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    headers: list[tuple[tuple[str, bytes], ...]] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)

    def append(self, batch: Batch) -> None:
        rows = len(batch)
        self.ids.extend(batch.ids)
        self.values.extend(batch.values)
        self.keys.extend(batch.keys or [None] * rows)
        self.headers.extend(batch.headers or [()] * rows)
        self.timestamps.extend(batch.timestamps or [0] * rows)

    def part(self, start: int, stop: int) -> Batch:
        columns = (self.keys[start:stop], self.headers[start:stop], self.timestamps[start:stop])
        keys, headers, times = (column if any(column) else () for column in columns)
        return Batch(self.ids[start:stop], self.values[start:stop], keys, headers, times)  # type: ignore[arg-type]


class Topic:
    """Belongs to the event loop. `lanes` are made by what is put into them."""

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self.lanes: Final[dict[str, Log]] = {}
        self.letters: Final[list[DeadLetter]] = []
        #: id → where its letter is
        self.graves: Final[dict[str, int]] = {}
        #: (pipeline, lane) → epoch and position; lanes of this topic where it is read, of others where it is written
        self.owners: Final[dict[tuple[str, str], tuple[int, int | None]]] = {}
        self.places: Final[dict[str, tuple[Log, int]]] = {}
        self.listeners: Final[set[asyncio.Event]] = set()

    def put(self, messages: Iterable[Message], lane: str = "0") -> None:
        self.append(Batch.of(list(messages)), lane)

    def append(self, batch: Batch, lane: str = "0") -> None:
        self.lanes.setdefault(f"{self.name}/{lane}", Log()).append(batch)
        self.wake()

    def wake(self) -> None:
        for listener in self.listeners:
            listener.set()

    def replace(self, batch: Batch, lane: str) -> None:
        """Each record takes the place of the one with its id."""
        log = self.lanes.setdefault(f"{self.name}/{lane}", Log())
        new: list[int] = []
        for at, name in enumerate(batch.ids):
            if name in self.places:
                there, where = self.places[name]
                there.values[where] = batch.values[at]
            else:
                self.places[name] = log, len(log.ids) + len(new)
                new.append(at)
        log.append(batch.take(new))
        self.wake()

    def bury(self, dead: Iterable[DeadLetter], *, by_id: bool) -> None:
        for letter in dead:
            if by_id and letter.message.id in self.graves:
                self.letters[self.graves[letter.message.id]] = letter
            else:
                self.graves[letter.message.id] = len(self.letters)
                self.letters.append(letter)

    def messages(self) -> list[Message]:
        """All of it, lane by lane."""
        return [log.part(at, at + 1)[0] for log in self.lanes.values() for at in range(len(log.ids))]

    def __len__(self) -> int:
        return sum(len(log.ids) for log in self.lanes.values())

    def take_over(self, pipeline: str, lane: str) -> tuple[int, int | None]:
        epoch, position = self.owners.get((pipeline, lane), (0, None))
        self.owners[pipeline, lane] = epoch + 1, position
        return epoch + 1, position

    def store(self, pipeline: str, token: Token) -> None:
        """Raises Fenced."""
        epoch, position = self.owners.get((pipeline, token.lane), (0, None))
        if token.epoch != epoch:
            raise Fenced(f"lane '{token.lane}' has the epoch {epoch}, the token is of {token.epoch}")
        self.owners[pipeline, token.lane] = epoch, max(position or 0, token.position)


_topics: Final[dict[str, Topic]] = {}


def topic(name: str) -> Topic:
    """The one of that name."""
    return _topics.setdefault(name, Topic(name))


def forget(name: str) -> None:
    _topics.pop(name, None)


class _Dice:
    def __init__(self, faults: Faults) -> None:
        self._random: Final = random.Random(faults.seed)  # noqa: S311 - it breaks what is to be broken

    def falls(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance


class MemoryInput:
    def __init__(self, settings: MemorySource, context: Context) -> None:
        self.source: Final = Source(
            f"topic '{settings.topic}'", "memory", stable_ids=True, positions=True, ordered=True
        )
        self._settings: Final = settings
        self._context: Final = context
        self._topic: Final = topic(settings.topic)
        self._dice: Final = _Dice(settings.faults)
        self._arrived: Final = asyncio.Event()
        self._owned: dict[str, tuple[int, int]] = {}
        self._turn = 0
        self._connected = False

    async def connect(self) -> None:
        if self._dice.falls(self._settings.faults.connect):
            raise Transient(f"{self.source.name} is not there")
        self._owned = {}
        self._topic.listeners.add(self._arrived)
        self._connected = True

    async def _own(self, lane: str) -> None:
        positions = self._context.positions
        epoch, position = self._topic.take_over(self._context.pipeline, lane)
        if positions is not None:
            epoch, stored = await positions.take_over(lane)
            position = stored if stored is not None else position
        self._owned[lane] = epoch, position or 0

    async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
        while True:
            self._check(self._settings.faults.read)
            self._arrived.clear()
            for lane in [lane for lane in self._topic.lanes if lane not in self._owned]:
                await self._own(lane)
            lanes = list(self._owned)
            for step in range(len(lanes)):
                lane = lanes[(self._turn + step) % len(lanes)]
                if self._owned[lane][1] < len(self._topic.lanes[lane].ids):
                    self._turn += step + 1
                    return self._read(lane, credit)
            if self._settings.ends:
                return None
            await self._arrived.wait()

    def _read(self, lane: str, credit: Credit) -> tuple[Batch, Token]:
        epoch, start = self._owned[lane]
        batch = self._topic.lanes[lane].part(start, start + credit.rows)
        if batch.nbytes > credit.nbytes:
            rows = nbytes = 0
            while nbytes <= credit.nbytes and rows < len(batch):
                nbytes += len(batch.values[rows] or b"")
                rows += 1
            batch = batch.part(0, rows)
        stop = start + len(batch)
        self._owned[lane] = epoch, stop
        return batch, Token(lane, epoch, stop)

    def _check(self, chance: float) -> None:
        if not self._connected or self._dice.falls(chance):
            raise Transient(f"the connection to {self.source.name} broke")

    async def ack(self, token: Token) -> None:
        self._check(self._settings.faults.acknowledge)
        if self._dice.falls(self._settings.faults.fence):
            self._topic.take_over(self._context.pipeline, token.lane)
            self._owned.pop(token.lane, None)
        if self._context.positions is None:
            self._topic.store(self._context.pipeline, token)
        elif self._owned.get(token.lane, (0, 0))[0] != token.epoch:
            raise Fenced(f"lane '{token.lane}' is read anew")

    async def lag(self) -> Mapping[str, Lag]:
        return {
            lane: Lag(len(log.ids) - (self._topic.owners.get((self._context.pipeline, lane), (0, None))[1] or 0))
            for lane, log in self._topic.lanes.items()
        }

    async def close(self) -> None:
        self._connected = False
        self._topic.listeners.discard(self._arrived)


class MemoryOutput:
    """A PositionStore, where that is its ability."""

    def __init__(self, settings: MemorySink, context: Context) -> None:
        ability = Ability[settings.ability.upper()]
        self.sink: Final = Sink(
            f"topic '{settings.topic}'", frozenset({ability}), "memory", dead_letters=settings.dead_letters
        )
        self._ability: Final = ability
        self._settings: Final = settings
        self._context: Final = context
        self._topic: Final = topic(settings.topic)
        self._dice: Final = _Dice(settings.faults)
        self._connected = False

    async def connect(self) -> None:
        if self._dice.falls(self._settings.faults.connect):
            raise Transient(f"{self.sink.name} is not there")
        self._connected = True

    async def take_over(self, lane: str) -> tuple[int, int | None]:
        if not self._connected:
            raise Transient(f"{self.sink.name} is not connected")
        return self._topic.take_over(self._context.pipeline, lane)

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        faults = self._settings.faults
        if faults.delay:
            await asyncio.sleep(faults.delay)
        if not self._connected or self._dice.falls(faults.write):
            raise Transient(f"the connection to {self.sink.name} broke")
        if self._settings.capacity and len(self._topic) + len(rows.batch) > self._settings.capacity:
            raise Transient(f"{self.sink.name} is full, it holds {self._settings.capacity} records")
        if faults.refuse:
            self._refuse(rows.batch)
        lost = self._dice.falls(faults.unknown)
        if not lost or self._dice.falls(0.5):
            self._commit(rows, dead)
        if lost:
            raise OutcomeUnknown(f"the connection to {self.sink.name} broke before it answered")

    def _refuse(self, batch: Batch) -> None:
        for at, value in enumerate(batch.values):
            if value is not None and self._settings.faults.refuse.encode() in value:
                message = f"it has '{self._settings.faults.refuse}' in it"
                raise DataError(message, -1 if self._settings.faults.anonymous else at)

    def _commit(self, rows: Rows, dead: Sequence[DeadLetter]) -> None:
        source = rows.source
        if source.position is not None:
            if self._ability is Ability.TRANSACTIONAL:
                topic(source.lane.rpartition("/")[0]).store(self._context.pipeline, source)
            elif self._ability is Ability.STORES_OFFSETS:
                self._topic.store(self._context.pipeline, source)
        lane = source.lane.rpartition("/")[2]
        if self._ability is Ability.IDEMPOTENT:
            self._topic.replace(rows.batch, lane)
        elif len(rows.batch):
            self._topic.append(rows.batch, lane)
        self._topic.bury(dead, by_id=self._ability is Ability.IDEMPOTENT)

    async def close(self) -> None:
        self._connected = False


def _redrive(settings: MemorySource, context: Context) -> MemoryOutput:
    """Puts records back behind the others of the topic."""
    return MemoryOutput(MemorySink(topic=settings.topic), context)


def _input(settings: MemorySource, context: Context) -> MemoryInput:
    if "/" in settings.topic:
        raise InvalidArgument(f"topic is '{settings.topic}', expected a name without '/'")
    return MemoryInput(settings, context)


adapter: Final = Adapter(
    "memory",
    "topics within the process, for tests and dry runs",
    input=Door(MemorySource, _input),
    output=Door(MemorySink, MemoryOutput),
    redrive=Door(MemorySource, _redrive),
)
