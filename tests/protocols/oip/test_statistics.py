from __future__ import annotations

import time

from gateway.core.observe import Statistics
from gateway.protocols.oip.statistics import describe


def test_every_number_in_its_place() -> None:
    statistics = Statistics()
    statistics.executed(8, 1, 2, 3)
    statistics.executed(1, 4, 5, 6)
    statistics.executed(1, 4, 5, 6)
    statistics.success_count, statistics.success_ns = 3, 100
    statistics.fail_count, statistics.fail_ns = 1, 50
    statistics.queue_ns, statistics.input_ns, statistics.infer_ns, statistics.output_ns = 10, 20, 30, 40
    statistics.rows = 10
    assert describe("m", "2", statistics) == {
        "name": "m",
        "version": "2",
        "last_inference": 0,
        "inference_count": 10,
        "execution_count": 3,
        "inference_stats": {
            "success": {"count": 3, "ns": 100},
            "fail": {"count": 1, "ns": 50},
            "queue": {"count": 3, "ns": 10},
            "compute_input": {"count": 3, "ns": 20},
            "compute_infer": {"count": 3, "ns": 30},
            "compute_output": {"count": 3, "ns": 40},
            "cache_hit": {"count": 0, "ns": 0},
            "cache_miss": {"count": 0, "ns": 0},
        },
        "batch_stats": [
            {
                "batch_size": 1,
                "compute_input": {"count": 2, "ns": 8},
                "compute_infer": {"count": 2, "ns": 10},
                "compute_output": {"count": 2, "ns": 12},
            },
            {
                "batch_size": 8,
                "compute_input": {"count": 1, "ns": 1},
                "compute_infer": {"count": 1, "ns": 2},
                "compute_output": {"count": 1, "ns": 3},
            },
        ],
        "response_stats": {},
        "memory_usage": [],
    }


def test_the_last_inference_is_told_in_milliseconds_since_the_epoch() -> None:
    statistics = Statistics()
    statistics.last_inference = time.perf_counter_ns() - 5_000_000_000
    assert abs(describe("m", "1", statistics)["last_inference"] - (time.time() - 5) * 1000) < 1000
