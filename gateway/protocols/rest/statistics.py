"""The statistics extension: what was counted of each model version, durations in nanoseconds.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.core.observe import Statistics
from gateway.models.manager import Manager
from gateway.protocols.rest.body import reply
from gateway.protocols.rest.versions import numbers, pinned, ready_models


class ModelStatistics:
    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def routes(self) -> list[Route]:
        model = "/v2/models/{model}"
        return [
            # before `/v2/models/{model}`: the protocol gives this path away
            Route("/v2/models/stats", self.all_models, methods=["GET"]),
            Route(f"{model}/stats", self.model, methods=["GET"]),
            Route(f"{model}/versions/{{version}}/stats", self.model, methods=["GET"]),
        ]

    async def all_models(self, request: Request) -> Response:
        return reply(
            {
                "model_stats": [
                    self._describe(model, version)
                    for model in ready_models(self._manager)
                    for version in numbers(self._manager, model)
                ]
            }
        )

    async def model(self, request: Request) -> Response:
        """Every version that is ready, or the one in the path. Raises NotFound, Unavailable."""
        model, version = request.path_params["model"], request.path_params.get("version", "")
        with pinned(self._manager, model, version) as handle:
            versions = [handle.id.version] if version else numbers(self._manager, model)
            return reply({"model_stats": [self._describe(model, each) for each in versions]})

    def _describe(self, model: str, version: str) -> dict[str, Any]:
        with pinned(self._manager, model, version) as handle:
            return describe(model, version, handle.statistics)


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
