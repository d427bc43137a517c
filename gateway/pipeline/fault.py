"""Why one connected time of a pipeline came to its end."""

from __future__ import annotations

from gateway.core.errors import SluiceError


class Fault(Exception):
    """Everything that is not written is dropped, and read again.

    sides    what has to be connected again: "input", "output", "dead letters"
    hard     they are closed first, because nobody knows how they are
    narrow   the most records of the next reads, 0 for no other than before: a record among more has to be found
    """

    def __init__(self, error: SluiceError, sides: frozenset[str], narrow: int = 0, *, hard: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.sides = sides
        self.narrow = narrow
        self.hard = hard


class Tripped(Exception):
    """The circuit breaker says so."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Halted(Exception):
    """The connected time has come to its end, while this waited for a side."""


INPUT = frozenset({"input"})
OUTPUT = frozenset({"output"})
BOTH = INPUT | OUTPUT
EVERY = BOTH | {"dead letters"}
