"""What was denied: counted by port and reason, and told in the log where somebody tried to change something."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from gateway.core.errors import PermissionDenied, ResourceExhausted, SluiceError, TooLarge, Unauthenticated
from gateway.security.refusal import Expired, Missing, Revoked, UnknownKey

logger = logging.getLogger("sluice.security")

#: lines a minute; what is beyond is told as a number
LINES: Final = 20
MINUTE: Final = 60.0

#: the first that fits
_REASONS: Final[tuple[tuple[type[SluiceError], str], ...]] = (
    (Missing, "missing"),
    (Expired, "expired"),
    (Revoked, "revoked"),
    (UnknownKey, "unknown_key"),
    (Unauthenticated, "wrong"),
    (PermissionDenied, "forbidden"),
    (ResourceExhausted, "quota"),
    (TooLarge, "quota"),
)
REASONS: Final = tuple(dict.fromkeys(reason for _, reason in _REASONS))


class Denials:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        #: (port, reason) → how often
        self.counts: Counter[tuple[str, str]] = Counter()
        self._clock = clock
        self._minute = -MINUTE
        self._lines = 0
        self._unsaid = 0

    def add(self, port: str, error: SluiceError, address: str = "", what: str = "") -> None:
        """`what` was tried, "" for what is not worth a line. An error that is about something else is not counted."""
        reason = next((name for kind, name in _REASONS if isinstance(error, kind)), "")
        if not reason:
            return
        self.counts[port, reason] += 1
        if what:
            self._tell("denied: %s, from %s %s: %s", what, port, address or "unknown", error.message)

    def _tell(self, line: str, *values: str) -> None:
        now = self._clock()
        if now - self._minute >= MINUTE:
            if self._unsaid:
                logger.warning("denied: %d more in the minute before", self._unsaid)
            self._minute, self._lines, self._unsaid = now, 0, 0
        if self._lines < LINES:
            self._lines += 1
            logger.warning(line, *(value.encode("unicode_escape").decode()[:300] for value in values))
        else:
            self._unsaid += 1
