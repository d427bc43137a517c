"""How long to wait before the next try."""

from __future__ import annotations

import random
from typing import Final

from gateway.core.errors import SluiceError
from gateway.pipeline import policy


class Backoff:
    """Counts failures in a row. `chance` gives numbers in [0, 1)."""

    def __init__(self, policy: policy.Backoff, chance: random.Random | None = None) -> None:
        self._policy: Final = policy
        self._chance: Final = chance or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self.failures = 0

    def failed(self, error: SluiceError | None = None) -> float:
        """Seconds to wait now: initial · 2ⁿ, at most the longest, less a random part of up to a half.

        An error that knows when a further try makes sense is believed, up to the longest.
        """
        # 2 ** 60 is beyond any limit, and 2 ** 5000 beyond a float
        delay = min(self._policy.initial * float(2 ** min(self.failures, 60)), self._policy.longest)
        self.failures += 1
        delay *= 1 - self._chance.random() / 2
        if error is not None and error.retry_after is not None:
            delay = max(delay, min(error.retry_after, self._policy.longest))
        return delay

    def succeeded(self) -> None:
        self.failures = 0
