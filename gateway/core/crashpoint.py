"""Places where a stream worker can be made to kill itself, or to stand still, for tests of what survives.

``SLUICE_CRASH_AT=after-read|after-decode|after-predict|before-write|before-commit|after-write|after-ack|in-dead-letter``,
and perhaps ``:n`` and ``:KILL|STOP``: at the n-th pass, 1 where it is not given, the process sends itself SIGKILL, or
SIGSTOP: no handler, no flush, no goodbye. The places are passed once a batch.

before-commit is within an output: what it writes is on its way, and does not hold yet. One that has no such moment of
its own does not pass it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Final

from gateway.core.errors import InvalidArgument

VARIABLE: Final = "SLUICE_CRASH_AT"
POINTS: Final = (
    "after-read",
    "after-decode",
    "after-predict",
    "before-write",
    "before-commit",
    "after-write",
    "after-ack",
    "in-dead-letter",
)
_SIGNALS: Final = {"KILL": signal.SIGKILL, "STOP": signal.SIGSTOP}


class CrashPoint:
    def __init__(self, point: str, passes: int, number: signal.Signals = signal.SIGKILL) -> None:
        self.point: Final = point
        self.left = passes
        self.number: Final = number

    def reach(self, point: str) -> None:
        if point != self.point:
            return
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), self.number)

    @staticmethod
    def read(environment: Mapping[str, str]) -> CrashPoint | None:
        """Raises InvalidArgument."""
        text = environment.get(VARIABLE, "")
        if not text:
            return None
        point, passes, number = [*text.split(":"), "", ""][:3]
        passes, number = passes or "1", number or "KILL"
        known = point in POINTS and number in _SIGNALS and text.count(":") <= 2
        if not known or not passes.isdecimal() or not int(passes):
            raise InvalidArgument(
                f"{VARIABLE} is '{text}', expected one of {', '.join(POINTS)}, and perhaps ':n', ':n:KILL' or ':n:STOP'"
            )
        return CrashPoint(point, int(passes), _SIGNALS[number])


#: None but in tests: a place costs the look at it
crash: Final = CrashPoint.read(os.environ)
