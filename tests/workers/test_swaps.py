"""Versions and workers replaced under load on both ports: nothing fails, nobody is answered by what was replaced."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from fleets import PACE, TOKEN, Fleet, Load, fleet
from tritonclient.utils import InferenceServerException

from gateway.client import Client
from gateway.core.errors import Unavailable

SWAPS, RECYCLES = 15, 2


class GrpcLoad(threading.Thread):
    """One call after the other on a channel of its own, until `stop`. What a client may send again it sends again."""

    def __init__(self, place: str, rest: Load) -> None:
        super().__init__()
        self._place = place
        self._rest = rest
        self.good = 0
        self.again = 0
        self.failed: list[str] = []
        self.stale: list[str] = []
        self.stopping = False

    def run(self) -> None:
        tensor = triton.InferInput("x", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 1), np.float32))
        # channels of one process share connections unless they differ
        options = [("grpc.use_local_subchannel_pool", 1)]
        with triton.InferenceServerClient(self._place, channel_args=options) as client:
            while not self.stopping:
                time.sleep(PACE)
                oldest = self._rest.acknowledged
                try:
                    answer = client.infer("m", [tensor]).as_numpy("y")[0, 0]
                except InferenceServerException as error:
                    if "UNAVAILABLE" in str(error.status()):
                        self.again += 1
                    else:
                        self.failed.append(str(error))
                    continue
                self.good += 1
                if answer < oldest:
                    self.stale.append(f"{answer} where {oldest} had been acknowledged")


@pytest.mark.timeout(180)
def test_swaps_and_recycles_under_load(tmp_path: Path) -> None:
    with fleet(tmp_path) as two, Load(two.server.rest, 4) as load:
        calls = [GrpcLoad(two.server.grpc, load) for _ in range(3)]
        for each in calls:
            each.start()
        try:
            recycling = threading.Thread(target=_recycle, args=(two,))
            recycling.start()
            for number in range(2, SWAPS + 2):
                two.put(1, number)
                two.load()
                load.acknowledged = number
                load.wait_for(40)
            recycling.join()
            load.wait_for(100)
        finally:
            for each in calls:
                each.stopping = True
            for each in calls:
                each.join()
        load.stop()
        assert not load.failed
        assert not load.stale
        assert not [error for each in calls for error in (*each.failed, *each.stale)]
        assert all(each.good > 20 for each in calls)
        assert sum(each.again for each in calls) <= 2 * RECYCLES * len(calls)
        # nothing was counted twice, and nothing forgotten
        good = load.good + sum(each.good for each in calls)
        assert two.metric("nv_inference_request_success") == good


def _recycle(two: Fleet) -> None:
    admin = Client(two.server.admin, TOKEN, timeout=90)
    for _ in range(RECYCLES):
        admin.call("POST", "/admin/v1/workers/recycle")


@pytest.mark.timeout(180)
def test_counters_never_decrease(tmp_path: Path) -> None:
    """Not for readers who look while workers are killed, either."""
    with fleet(tmp_path) as two, Load(two.server.rest, 4) as load:
        seen: dict[str, float] = {}
        kills = 0
        looks = 0
        while kills < 3 or looks < 28:
            page = Client(two.server.admin).send("GET", "/metrics").body.decode()
            counters = {line.split()[2] for line in page.splitlines() if line.endswith((" counter", " histogram"))}
            for line in page.splitlines():
                name, _, value = line.rpartition(" ")
                family = name.partition("{")[0]
                if {family, family.removesuffix("_bucket"), family.removesuffix("_count")} & counters:
                    assert float(value) >= seen.get(name, 0.0), name
                    seen[name] = float(value)
            (stats,) = Client(two.server.rest).call("GET", "/v2/models/m/stats")["model_stats"]
            for part, duration in stats["inference_stats"].items():
                for what, number in duration.items():
                    assert number >= seen.get(part + what, 0), part
                    seen[part + what] = number
            looks += 1
            if looks % 8 == 0:
                pids = two.pids()
                if len(pids) == 2:
                    os.kill(pids[kills % 2], signal.SIGKILL)
                    kills += 1
        load.stop()
        assert len(load.failed) <= 3 * 4


@pytest.mark.timeout(180)
def test_loads_go_through_while_workers_are_killed(tmp_path: Path) -> None:
    """A change holds in all who live, and in those that come in place of who dies in the midst of it."""
    with fleet(tmp_path) as two:
        stopping = threading.Event()
        kills = []

        def kill() -> None:
            while not stopping.wait(0.7):
                for pid in two.pids().values():
                    if len(two.pids()) == 2:
                        os.kill(pid, signal.SIGKILL)
                        kills.append(pid)
                        break

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            number = 1
            while number < 20 or len(kills) < 3:
                number += 1
                two.put(1, number)
                while True:
                    try:
                        two.load()
                        break
                    except Unavailable:
                        pass  # it was the very worker that was asked
        finally:
            stopping.set()
            killer.join()
        for worker in range(2):
            two.until(lambda worker=worker: worker in two.pids())  # type: ignore[misc]
        load = Load(two.server.rest, 8)
        load.acknowledged = number
        with load:
            load.wait_for(100)
        assert not load.stale
