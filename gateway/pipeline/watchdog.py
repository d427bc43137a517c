"""Looks whether a stream gets on, and how far behind it is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from gateway.core.errors import SluiceError
from gateway.core.stream import Transient
from gateway.pipeline.fault import EVERY, Fault
from gateway.pipeline.pipeline import Pipeline

logger = logging.getLogger("sluice.streams")


class Watchdog:
    """Of one connected time."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline: Final = pipeline

    async def barked(self, busy: Callable[[], bool]) -> Fault:
        """Returns when there has been work for too long, and none of it was done. `busy`: something is in flight."""
        pipeline = self._pipeline
        stalled = pipeline.policy.errors.stalled
        if not stalled:
            await asyncio.Event().wait()
        seen, since = self._traces(), time.monotonic()
        while True:
            await asyncio.sleep(stalled / 4)
            patience = stalled if busy() else stalled * 2.0 ** min(pipeline.stalls, 6)
            if (now := self._traces()) != seen or self._waits() or not (busy() or self._lags(since)):
                seen, since = now, time.monotonic()
            elif time.monotonic() - since >= patience:
                pipeline.stalls += 1
                error = Transient(f"no progress for {patience:g} s though there is work")
                return Fault(error, EVERY, hard=True)

    def _traces(self) -> tuple[int, ...]:
        counters = self._pipeline.counters
        return counters.read, counters.scored, counters.written, counters.dead, counters.acknowledged

    def _lags(self, since: float) -> bool:
        """The input knows of records that it does not give, and that for longer than the last look."""
        pipeline = self._pipeline
        return pipeline.lag_seen > since and any(lag.records for lag in pipeline.lag.values())

    def _waits(self) -> bool:
        """For something that is known, and tried again."""
        return bool(self._pipeline.model.backoff.failures) or self._pipeline.delivery.waits

    async def look_at_lag(self) -> None:
        """Now and then, for ever."""
        pipeline = self._pipeline
        look = getattr(pipeline.input, "lag", None)
        if look is None:
            return
        while True:
            try:
                pipeline.lag = dict(await look())
                pipeline.lag_seen = time.monotonic()
            except SluiceError as error:
                logger.debug("stream %s: its lag is not known: %s", pipeline.name, error.message)
            except Exception:
                logger.exception("stream %s: looking at its lag failed", pipeline.name)
            await asyncio.sleep(pipeline.policy.lag_interval)
