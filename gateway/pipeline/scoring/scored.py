"""What became of a batch at the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.stream import Batch


@dataclass(slots=True)
class Scored:
    """`batch` holds the encoded results, each with the id, key and headers of the record that it answers.

    rows    for each result, the index of its record in the batch that was scored, ascending
    errors  row of that batch → why there is no result; a row that is in neither was skipped
    """

    batch: Batch
    rows: Sequence[int]
    errors: dict[int, str] = field(default_factory=dict)


class Scores(Protocol):
    """What a runner asks: a Scorer, or whatever else turns records into others."""

    @property
    def answers(self) -> str:
        """Who answers, for dead letters: a model and the version that is asked for."""
        ...

    async def score(self, batch: Batch) -> Scored:
        """Of at least one record. Raises SluiceError where it cannot be done now; a record at fault is an entry of
        `Scored.errors`."""
        ...
