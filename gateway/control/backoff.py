"""How long a slot stays empty after its worker died. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

#: seconds before the second start in a row for one cause; each further one doubles them
FIRST: Final = 0.1
MOST: Final = 30.0
#: the most after a kill from outside, which says nothing about the next worker
MOST_AFTER_KILL: Final = 0.4
#: seconds that a worker has to serve for its death to be no part of a row
HEALTHY: Final = 10.0

KILLED: Final = "killed by SIGKILL"


@dataclass(frozen=True, slots=True)
class Crashes:
    """`row` crashes of one `cause`, one after the other."""

    cause: str = ""
    row: int = 0

    def crashed(self, cause: str, served: float) -> Crashes:
        """One more, of a worker that had served for so many seconds."""
        if cause == self.cause and served < HEALTHY:
            return replace(self, row=self.row + 1)
        return Crashes(cause, 1)

    def delay(self, served: float) -> float:
        """Seconds until the next start."""
        if self.row < 2:
            return 0.0
        most = MOST_AFTER_KILL if self.cause == KILLED and served else MOST
        return min(most, FIRST * 2.0 ** min(self.row - 2, 20))
