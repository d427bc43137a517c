"""What a run costs, learned from the runs: how long it takes by size, and what merging rows wins."""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = float("inf")

_WEIGHT: Final = 0.1  # of a new measurement in the moving average
_SHORTER: Final = 0.5  # of a run that took less than was learned
_OUTLIER: Final = 4.0  # one preempted run counts as no more than so many times the average; two in a row count whole
_WORTH: Final = 0.95  # the smallest batch that reaches this share of the best rate is large enough
_RETRY_EVERY: Final = 512  # batches after which a larger one is tried again


class Cost:
    """Nanoseconds of a run by the number of elements in its inputs, in buckets of powers of two.

    Whatever a run meets, a preempted thread, a wait for the interpreter's lock, makes it longer and never shorter. So
    a short measurement counts for more than a long one: what is learned is near the low end of what is measured, and
    a model that was thought slow during a stall is soon known better.
    """

    __slots__ = ("_ns", "_odd")

    def __init__(self) -> None:
        self._ns = [0.0] * 65
        #: the last run was an outlier: a model may cost more for some data than for other
        self._odd = False

    def record(self, elements: int, ns: float) -> None:
        bucket = min(elements.bit_length(), 64)
        old = self._ns[bucket]
        if not old:
            self._ns[bucket] = ns
            return
        odd = ns > old * _OUTLIER
        if odd and not self._odd:
            ns = old * _OUTLIER
        self._odd = odd
        self._ns[bucket] = old + (ns - old) * (_WEIGHT if ns > old else _SHORTER)

    def predict(self, elements: int) -> float:
        """What that bucket learned; from the next smaller one in proportion, where there was none yet.

        UNKNOWN before the first measurement of anything as small.
        """
        bucket = min(elements.bit_length(), 64)
        known = self._ns[bucket]
        if known:
            return known
        for smaller in range(bucket - 1, -1, -1):
            if self._ns[smaller]:
                return self._ns[smaller] * (1 << (bucket - smaller))
        return UNKNOWN


class Growth:
    """How many rows a batch may have: more only as long as the measured rows per second grow.

    `limit` is the one thing that other threads read.
    """

    __slots__ = ("_batches", "_most", "_rate", "limit")

    def __init__(self, most: int) -> None:
        self._most = max(most, 1)
        self._rate = [0.0] * ((self._most - 1).bit_length() + 1)
        self._batches = 0
        self.limit = 1
        self._decide()

    def record(self, rows: int, ns: float) -> None:
        """A run of `rows` rows that took `ns` nanoseconds."""
        bucket = (max(rows, 1) - 1).bit_length()
        if bucket >= len(self._rate):
            return
        rate = rows / max(ns, 1.0)
        old = self._rate[bucket]
        self._rate[bucket] = old + (max(rate, old / _OUTLIER) - old) * _WEIGHT if old else rate
        self._batches += 1
        self._decide()

    def rate(self, rows: int) -> float:
        """Rows per nanosecond measured at batches of about `rows` rows, 0 where there were none."""
        return self._rate[(rows - 1).bit_length()]

    def _decide(self) -> None:
        best = max(self._rate)
        bucket = next(i for i, rate in enumerate(self._rate) if rate >= best * _WORTH)
        top = len(self._rate) - 1
        if best and bucket < top and (not self._rate[bucket + 1] or self._batches % _RETRY_EVERY == 0):
            bucket += 1
        self.limit = min(1 << bucket, self._most)
