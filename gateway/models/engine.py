"""Joins what a model version is made of: the runtime's session, its first measurements, and the batcher round it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.core.observe import Statistics
from gateway.core.servable import Executable, Servable
from gateway.core.signature import Signature
from gateway.models.batcher import Batcher
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.config import ModelConfig
from gateway.models.cost import Cost, Growth
from gateway.models.loader import Engine, silent
from gateway.models.pacer import Pacer
from gateway.models.warmup import measure, warm

if TYPE_CHECKING:
    from gateway.models.onnx import Runtime


def batch_policy(config: ModelConfig, signature: Signature, defaults: BatchPolicy) -> BatchPolicy:
    """What the model's config says, and where it says nothing, the server's defaults."""
    queue = config.queue
    return replace(
        defaults,
        merge=signature.batched if config.batching is None else config.batching,
        max_rows=signature.max_batch_size or defaults.max_rows,
        delay=config.max_delay,
        instances=config.instances,
        max_requests=queue.max_requests or defaults.max_requests,
        timeout=queue.timeout or defaults.timeout,
        allow_timeout=queue.allow_timeout_override,
        run_limit=config.run_limit,
    )


def onnx_engine(
    runtime: Runtime,
    pool: ThreadPoolExecutor,
    defaults: BatchPolicy,
    told: Callable[[str, float | None], None] = silent,
    pacer: Pacer | None = None,
) -> Engine:
    """`pool` runs what does not run inline; its threads are as many as instances that were ever busy at once.
    With a `pacer`, which is for one core only, the loop does what is brief instead."""

    def load(path: Path, config: ModelConfig) -> Executable:
        return runtime.load(path, config)

    def warmed(executable: Executable, config: ModelConfig) -> tuple[Cost, Growth]:
        cost, growth = Cost(), Growth(executable.signature.max_batch_size or defaults.max_rows)
        warm(executable, config)
        measure(executable, cost, growth)
        return cost, growth

    def serve(executable: Executable, config: ModelConfig, statistics: Statistics, learned: Any) -> Servable:
        policy = batch_policy(config, executable.signature, defaults)
        cost, growth = learned
        return Batcher(executable, policy, statistics, pool, cost, growth, pacer)

    return Engine(load, warmed, serve, told)
