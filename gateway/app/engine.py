"""What holds the models and answers predictions, whichever ports they come by."""

from __future__ import annotations

import asyncio
import gc
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import numpy as np

from gateway.dataplane import Dataplane
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.engine import onnx_engine
from gateway.models.manager import Manager
from gateway.models.memory import forget_start, trim
from gateway.models.onnx import Runtime
from gateway.models.pacer import Pacer
from gateway.models.repository import Repository
from gateway.routing.split import Splits
from gateway.settings import Settings, granted
from gateway.telemetry.metrics import Loads

logger = logging.getLogger("sluice")

#: instances that may be busy at the same time, over all models
MOST_INSTANCES: Final = 256
#: seconds of a run up to which the loop does it, where a worker has one core
PACED: Final = 2e-3
#: seconds that runs of a model have to end which nobody waits for any more
LAST_RUNS: Final = 2.0


class Engine:
    """It has no models before somebody loads them; `enter` has it taken down with the rest."""

    def __init__(self, settings: Settings, repository: Repository | None = None) -> None:
        # a number too large for its float type becomes infinite without a word, as in the reference server
        np.seterr(over="ignore")
        threads = _share(settings.workers) if settings.threads == "auto" else settings.threads
        self._pool = ThreadPoolExecutor(MOST_INSTANCES, thread_name_prefix="sluice-run")
        self.loads = Loads()
        runtime = Runtime(threads, settings.providers)
        pacer = Pacer(PACED) if _share(settings.workers) == 1 else None
        engine = onnx_engine(runtime, self._pool, _batch_policy(settings), self.loads.add, pacer)
        self.manager = Manager(
            repository or Repository(Path(settings.models)),
            engine,
            mode=settings.control_mode,
            poll_interval=settings.poll_interval,
        )
        self.splits = Splits()
        self.dataplane = Dataplane(self.manager, self.splits)
        #: a model still runs, in a thread that Python would wait for
        self.left_behind = False

    def enter(self, stack: AsyncExitStack) -> None:
        stack.callback(self._pool.shutdown, wait=False, cancel_futures=True)
        stack.push_async_callback(self._close)

    async def _close(self) -> None:
        """By now nobody waits for a run that has not ended."""
        try:
            async with asyncio.timeout(LAST_RUNS):
                await self.manager.close()
        except TimeoutError:
            logger.warning("a model still runs after %g s, it is left behind", LAST_RUNS)
            self.left_behind = True


def _share(workers: int | str) -> int:
    """The cores of one worker."""
    cores = granted()
    return max(1, cores // (workers if isinstance(workers, int) else cores))


def _batch_policy(settings: Settings) -> BatchPolicy:
    return BatchPolicy(
        max_rows=settings.batching.max_batch_size,
        inline_limit=settings.batching.inline_limit_us * 1e-6,
        max_requests=settings.queue.max_requests,
        max_bytes=settings.queue.max_bytes,
    )


def settle_memory() -> None:
    """What is there now stays: the collector need not look at it again, and may come round less often.

    A request makes no cycles; at Python's own threshold of 700 the collector ran every few requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    trim()
    forget_start()
