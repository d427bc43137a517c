"""The statistics extension: what was counted of each model version, durations in nanoseconds.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.core.observe import Statistics
from gateway.core.servable import ServableId
from gateway.models.manager import Manager
from gateway.protocols.oip.versions import numbers, pinned, ready_models
from gateway.security.grant import Rights

Counted = Callable[[], Awaitable[Mapping[ServableId, Statistics]]]


class ModelStatistics:
    """`counted` tells what all processes counted; None where this one is all."""

    def __init__(self, manager: Manager, counted: Counted | None = None) -> None:
        self._manager = manager
        self._counted = counted

    async def of_all(self, rights: Rights) -> dict[str, Any]:
        """Every version that is ready, of the models that the caller may see."""
        return await self._describe(
            [
                ServableId(model, version)
                for model in ready_models(self._manager)
                if rights.may("read", model)
                for version in numbers(self._manager, model)
            ]
        )

    async def of(self, model: str, version: str) -> dict[str, Any]:
        """Every version of a model that is ready, or the one named. Raises NotFound, Unavailable."""
        with pinned(self._manager, model, version) as handle:
            versions = [handle.id.version] if version else numbers(self._manager, model)
        return await self._describe([ServableId(model, each) for each in versions])

    async def _describe(self, wanted: list[ServableId]) -> dict[str, Any]:
        counted = dict(self._manager.statistics()) if self._counted is None else await self._counted()
        return {"model_stats": [describe(*each, counted.get(each) or Statistics()) for each in wanted]}


def describe(model: str, version: str, statistics: Statistics) -> dict[str, Any]:
    """One entry of ``model_stats``. Nothing is cached here, so that `cache_hit` and `cache_miss` stay 0."""
    done = statistics.success_count
    return {
        "name": model,
        "version": version,
        "last_inference": _epoch_ms(statistics.last_inference),
        "inference_count": statistics.rows,
        "execution_count": statistics.executions,
        "inference_stats": {
            "success": _duration(done, statistics.success_ns),
            "fail": _duration(statistics.fail_count, statistics.fail_ns),
            "queue": _duration(done, statistics.queue_ns),
            "compute_input": _duration(done, statistics.input_ns),
            "compute_infer": _duration(done, statistics.infer_ns),
            "compute_output": _duration(done, statistics.output_ns),
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": _duration(batch.count, batch.input_ns),
                "compute_infer": _duration(batch.count, batch.infer_ns),
                "compute_output": _duration(batch.count, batch.output_ns),
            }
            for rows, batch in sorted(statistics.batches.items())
        ],
        "response_stats": {},
        "memory_usage": [],
    }


def _duration(count: int, ns: int) -> dict[str, int]:
    return {"count": count, "ns": ns}


def _epoch_ms(counter_ns: int) -> int:
    """`counter_ns` is of ``time.perf_counter_ns``, which is cheap to read but starts anywhere; 0 is never."""
    if not counter_ns:
        return 0
    return (time.time_ns() - (time.perf_counter_ns() - counter_ns)) // 1_000_000
