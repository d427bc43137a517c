"""Looks whether a stream gets on, and how far behind it is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from gateway.core.errors import SluiceError
from gateway.core.stream import Transient
from gateway.pipeline.fault import EVERY, Fault
from gateway.pipeline.lane import Lane
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.stray import stray

logger = logging.getLogger("sluice.streams")


class Watchdog:
    """Of one connected time."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline: Final = pipeline

    async def barked(self, lanes: Callable[[], Iterable[Lane]]) -> Fault:
        """Returns when a lane of these has had something in flight for too long, and no step of it was done; or when
        the input knows of records, and gives none. Whoever barks in vain does it less and less often."""
        pipeline = self._pipeline
        stalled = pipeline.policy.errors.stalled
        if not stalled:
            await asyncio.Event().wait()
        seen, since = self._traces(), time.monotonic()
        while True:
            await asyncio.sleep(stalled / 4)
            patience = stalled * 2.0 ** min(pipeline.stalls, 6)
            now = time.monotonic()
            busy = list(lanes())
            if (traces := self._traces()) != seen or busy or not self._lags(since):
                seen, since = traces, now
            for lane in busy:
                if pipeline.delivery.waits:
                    lane.stepped = now  # for something that is known, and tried again
                if not lane.at_model and now - lane.stepped >= patience:
                    return self._bark(f"no progress for {patience:g} s in lane '{lane.name}'")
            if now - since >= patience:
                return self._bark(f"no record for {patience:g} s, though there are some")

    def _bark(self, message: str) -> Fault:
        self._pipeline.stalls += 1
        return Fault(Transient(message), EVERY, hard=True)

    def _traces(self) -> tuple[int, int]:
        return self._pipeline.counters.read, self._pipeline.counters.acknowledged

    def _lags(self, since: float) -> bool:
        """The input knows of records that it does not give, and that for longer than the last look."""
        pipeline = self._pipeline
        return pipeline.lag_seen > since and any(lag.records for lag in pipeline.lag.values())

    async def look_at_lag(self) -> None:
        """Now and then, for ever."""
        pipeline = self._pipeline
        look = getattr(pipeline.input, "lag", None)
        if look is None:
            return
        while True:
            try:
                with stray("asking for the lag"):
                    pipeline.lag = dict(await look())
                pipeline.lag_seen = time.monotonic()
            except SluiceError as error:
                logger.debug("stream %s: its lag is not known: %s", pipeline.name, error.message)
            except Exception:
                logger.exception("stream %s: looking at its lag failed", pipeline.name)
            await asyncio.sleep(pipeline.policy.lag_interval)
