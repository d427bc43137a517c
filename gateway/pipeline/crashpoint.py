"""Places where a stream worker can be made to kill itself, for tests of what survives.

``SLUICE_CRASH_AT=after-read|after-decode|after-predict|before-write|after-write|after-ack|in-dead-letter[:n]``: at the
n-th pass, 1 where it is not given, the process gets SIGKILL from itself: no handler, no flush, no goodbye. The places
are passed once a batch.
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
    "after-write",
    "after-ack",
    "in-dead-letter",
)


class CrashPoint:
    def __init__(self, point: str, passes: int) -> None:
        self.point: Final = point
        self.left = passes

    def reach(self, point: str) -> None:
        if point != self.point:
            return
        self.left -= 1
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def read(environment: Mapping[str, str]) -> CrashPoint | None:
        """Raises InvalidArgument."""
        text = environment.get(VARIABLE, "")
        if not text:
            return None
        point, _, passes = text.partition(":")
        if point not in POINTS or not (passes or "1").isdecimal() or not int(passes or "1"):
            raise InvalidArgument(f"{VARIABLE} is '{text}', expected one of {', '.join(POINTS)}, and perhaps ':n'")
        return CrashPoint(point, int(passes or "1"))


#: None but in tests: a place costs the look at it
crash: Final = CrashPoint.read(os.environ)
