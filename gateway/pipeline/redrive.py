"""Puts dead letters back where their records were read, to be scored again.

A redrive is a pipeline like any other: it reads letters, "scores" them by taking the record out, writes that to the
source's own system, and acknowledges the letter when it is durable there. So a redrive that is cut off puts some
records back a second time, and loses none.
"""

from __future__ import annotations

from typing import Final

from gateway.core import letter
from gateway.core.stream import Batch, DataError, DeadLetter, Message
from gateway.pipeline.scoring.scored import Scored
from gateway.pipeline.scoring.stamp import ATTEMPTS_HEADER, bare


class Redriver:
    """What a Runner is given in the place of a Scorer: letters in, records out.

    A record says how often it has failed in its header ``sluice-attempts``: where it fails again, one more is counted.
    What is no letter becomes a dead letter of the redrive.
    """

    answers: Final = "redrive"

    async def score(self, batch: Batch) -> Scored:
        found: list[Message] = []
        rows: list[int] = []
        errors: dict[int, str] = dict(batch.faults)
        for row, value in enumerate(batch.values):
            if row in errors:
                continue
            try:
                found.append(self._record(value))
                rows.append(row)
            except DataError as error:
                errors[row] = error.message
        return Scored(Batch.of(found), rows, errors)

    @staticmethod
    def _record(value: bytes | None) -> Message:
        if value is None:
            raise DataError("it is no dead letter: it has no value (a tombstone)")
        return redriven(letter.decode(value))


def redriven(dead: DeadLetter) -> Message:
    """The record as it came, and how often it has failed."""
    message = dead.message
    headers = (*bare(message.headers), (ATTEMPTS_HEADER, str(dead.attempts).encode()))
    return Message(message.id, message.value, message.key, headers, message.timestamp)
