"""A dead letter as the message that it is about: its body as it came, the reason in its headers, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway.core import letter
from gateway.core.stream import Batch, DeadLetter, Message

REASON: Final = "sluice-reason"
LANE: Final = "sluice-lane"
POSITION: Final = "sluice-position"
ATTEMPTS: Final = "sluice-attempts"
MODEL: Final = "sluice-model"
NAMES: Final = frozenset({REASON, LANE, POSITION, ATTEMPTS, MODEL})


def records(batch: Batch) -> Batch:
    """Of letters in JSON. Raises DataError."""
    return Batch.of([_record(letter.decode(value or b"")) for value in batch.values])


def letters(batch: Batch) -> Batch:
    """Of records, in JSON; of one that somebody else has put there, without a reason."""
    found = [letter.encode(_letter(batch[at])) for at in range(len(batch))]
    return replace(batch, values=found)


def _record(dead: DeadLetter) -> Message:
    message = dead.message
    said = {
        REASON: dead.reason,
        LANE: dead.lane,
        POSITION: dead.position,
        ATTEMPTS: str(dead.attempts),
        MODEL: dead.model,
    }
    kept = tuple((name, value) for name, value in message.headers if name not in NAMES)
    more = tuple((name, text.encode()) for name, text in said.items() if text)
    return Message(message.id, message.value, message.key, (*kept, *more), message.timestamp)


def _letter(message: Message) -> DeadLetter:
    said = {name: value.decode("utf-8", "replace") for name, value in message.headers if name in NAMES}
    kept = tuple((name, value) for name, value in message.headers if name not in NAMES)
    attempts = said.get(ATTEMPTS, "")
    return DeadLetter(
        Message(message.id, message.value, message.key, kept, message.timestamp),
        said.get(REASON, ""),
        said.get(LANE, ""),
        said.get(POSITION, ""),
        int(attempts) if attempts.isdecimal() and len(attempts) < 10 else 1,
        said.get(MODEL, ""),
    )
