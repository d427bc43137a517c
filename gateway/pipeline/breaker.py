"""Stops a pipeline that turns its records into dead letters."""

from __future__ import annotations

from collections import deque
from typing import Final

from gateway.pipeline import policy


class Breaker:
    """Judges batches before they are written, so that the one that trips it is not lost to the dead letters.

    Closed, it looks back over the last `window` records. Open, nothing passes. Half open, the next batch is judged
    alone: it closes the breaker or opens it again.
    """

    def __init__(self, policy: policy.Breaker) -> None:
        self._policy: Final = policy
        self._window: Final[deque[tuple[int, int]]] = deque()
        self._rows = 0
        self._dead = 0
        #: records that pass unjudged, since somebody said so
        self._pardoned = 0
        self._half_open = False
        self.trips = 0

    def judge(self, rows: int, dead: int, reason: str) -> str:
        """`dead` of these `rows` are at fault, one of them for that reason. Returns why the pipeline has to stop,
        "" where it may go on."""
        if not rows or self._policy.share >= 1:
            return ""
        if self._pardoned > 0:
            self._pardoned -= rows
            return ""
        if self._half_open:
            if dead > self._policy.share * rows:
                return self._trip(dead, rows, reason)
            self._half_open = False
            return ""
        self._add(rows, dead)
        return self._judged(reason)

    def refused(self, reason: str) -> str:
        """A record that had passed became a dead letter all the same, by the output. Returns as `judge`."""
        if self._policy.share >= 1 or self._pardoned > 0 or not self._window:
            return ""
        rows, dead = self._window[-1]
        self._window[-1] = rows, dead + 1
        self._dead += 1
        return self._judged(reason)

    def _judged(self, reason: str) -> str:
        if self._rows >= self._policy.window and self._dead > self._policy.share * self._rows:
            return self._trip(self._dead, self._rows, reason)
        return ""

    def _add(self, rows: int, dead: int) -> None:
        self._window.append((rows, dead))
        self._rows += rows
        self._dead += dead
        while self._rows - self._window[0][0] >= self._policy.window:
            old, old_dead = self._window.popleft()
            self._rows -= old
            self._dead -= old_dead

    def _trip(self, dead: int, rows: int, reason: str) -> str:
        self._clear()
        self.trips += 1
        return (
            f"{dead} of the last {rows} records are at fault, the limit is {self._policy.share:.0%};"
            f" the last one: {reason}"
        )

    def _clear(self) -> None:
        self._window.clear()
        self._rows = self._dead = 0
        self._half_open = False

    def probe(self) -> None:
        """The next batch decides."""
        self._clear()
        self._half_open = True

    def pardon(self) -> None:
        """Somebody has looked at it and wants to go on: a whole window passes before it is judged again."""
        self._clear()
        self._pardoned = self._policy.window
