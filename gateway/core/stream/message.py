"""One record, and what is kept of one that could not be scored."""

from __future__ import annotations

from dataclasses import dataclass

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One record. `value` None is a tombstone; `timestamp` is in ms since the epoch, 0 where there is none."""

    id: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp: int = 0


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
