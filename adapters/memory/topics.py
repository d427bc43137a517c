"""Records in memory, lane by lane."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway.core.stream import Batch, DeadLetter, Fenced, Message, Token


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


def add(topic: Topic) -> None:
    """One that was made elsewhere is the one of its name from now on."""
    _topics[topic.name] = topic


def forget(name: str) -> None:
    _topics.pop(name, None)
