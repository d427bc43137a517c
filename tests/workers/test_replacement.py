"""Workers that are killed, stopped, recycled or crash, and a supervisor that ends."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fleets import ASK, BODY, Fleet, Load, alive, fleet

from gateway.client import Client

CONNECTIONS = 8
#: nobody waits to take the place of who dies: a process less to start where that is not the matter
ALONE = {"spare_worker": "false"}


@contextmanager
def busy(two: Fleet) -> Iterator[None]:
    """A request that has begun, and that a worker waits for as long as it may."""
    host, port = two.server.host.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n")
        connection.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
        # both may have come as one: who answers the first has read the second, or does so next
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        yield


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One for all tests whose workers are replaced and whose supervisor lives."""
    with fleet(tmp_path_factory.mktemp("two")) as found:
        yield found


def test_a_worker_that_is_killed_costs_at_most_its_own_requests(two: Fleet) -> None:
    with Load(two.server.rest, CONNECTIONS) as load:
        seen = two.metric("nv_inference_request_success")
        restarts = two.metric("sluice_worker_restarts_total")
        for kill in range(3):
            load.wait_for(100)
            slot = kill % 2
            pid = two.pids()[slot]
            before = len(load.failed)
            os.kill(pid, signal.SIGKILL)
            began = time.monotonic()
            two.replaced(slot, pid)
            print(f"replaced within {time.monotonic() - began:.2f} s")
            assert len(load.failed) - before <= CONNECTIONS
            counted = two.metric("nv_inference_request_success")
            assert counted >= seen
            seen = counted
        assert two.metric("sluice_worker_restarts_total") == restarts + 3
        assert "killed by SIGKILL" in httpx.get(f"{two.server.admin}/metrics", trust_env=False).text


def test_recycling_loses_no_request(two: Fleet) -> None:
    counted = two.metric("nv_inference_request_success")
    with Load(two.server.rest, CONNECTIONS) as load:
        load.wait_for(100)
        before = two.pids()
        two.admin.post("/admin/v1/workers/recycle").raise_for_status()
        assert not {*before.values()} & {*two.pids().values()}
        load.stop()
        assert not load.failed
        assert two.metric("nv_inference_request_success") == counted + load.good
        assert not any(alive(pid) for pid in before.values())


def test_whoever_ends_a_worker_by_a_signal_has_it_recycled(two: Fleet) -> None:
    with Load(two.server.rest, CONNECTIONS) as load:
        load.wait_for(50)
        pid = two.pids()[0]
        os.kill(pid, signal.SIGTERM)
        two.replaced(0, pid)
        two.until(lambda: not alive(pid))
        load.stop()
        assert not load.failed


def test_a_worker_that_is_stopped_holds_up_no_change(tmp_path: Path) -> None:
    with fleet(tmp_path, worker_timeout="1") as two:
        pid = two.pids()[1]
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        two.admin.put("/admin/v1/labels/m", json={"stable": "1"}).raise_for_status()
        assert time.monotonic() - began < 10
        two.replaced(1, pid)
        assert not alive(pid)
        assert {worker["revision"] for worker in two.workers()} == {1}


def test_a_spare_worker_that_is_stopped_or_killed_keeps_nobody_waiting(tmp_path: Path) -> None:
    with fleet(tmp_path) as two:

        def spares() -> list[int]:
            found = two.admin.get("/admin/v1/workers").json()["workers"]
            return [each["pid"] for each in found if each["state"] == "spare"]

        (spare,) = two.until(spares)
        os.kill(spare, signal.SIGSTOP)
        pid = two.pids()[0]
        os.kill(pid, signal.SIGKILL)
        assert two.replaced(0, pid) != spare
        assert not alive(spare)
        (spare,) = two.until(spares)
        os.kill(spare, signal.SIGKILL)
        two.until(lambda: (found := spares()) and found != [spare])


def test_crashes_in_a_row_are_told_and_keep_nobody_waiting(tmp_path: Path) -> None:
    with fleet(tmp_path, **ALONE) as two:
        pid = two.pids()[0]
        for _ in range(4):
            os.kill(pid, signal.SIGABRT)
            pid = two.replaced(0, pid)
        detail = httpx.get(f"{two.server.admin}/readyz", trust_env=False).json()
        assert detail["ready"] is True
        assert detail["troubles"] == ["worker 0: killed by SIGABRT, 4 times in a row"]
        assert two.metric("sluice_worker_crashes_in_a_row") == 4
        assert "killed by SIGABRT, 4 times in a row; its successor starts in 0.4 s" in two.server.log()
        for _ in range(1):  # 0.8 s
            os.kill(pid, signal.SIGABRT)
            two.until(lambda: "worker 1 accepts for worker 0" in two.server.log())
            began = time.monotonic()
            for _ in range(12):
                reply = Client(two.server.rest).send("POST", "/v2/models/m/infer", BODY)
                assert reply.json()["model_version"] == "1"
            print(f"12 connections within {time.monotonic() - began:.2f} s")
            pid = two.replaced(0, pid)
        assert time.monotonic() - began < 20


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_drains_all(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with fleet(tmp_path, **ALONE) as two, Load(two.server.rest, CONNECTIONS) as load:
        load.wait_for(50)
        pids = two.pids().values()
        two.server.process.send_signal(number)
        assert two.server.process.wait(20) == code
        assert not any(alive(pid) for pid in pids)
        # nobody listens any more, which is the only way to fail
        load.stop()
        assert not [error for error in load.failed if "ConnectionRefused" not in error and "Connect call" not in error]


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with fleet(tmp_path, drain_delay="60", **ALONE) as two, busy(two):
        pids = two.pids().values()
        two.server.process.send_signal(signal.SIGTERM)
        two.until(lambda: "stopping" in two.server.log())
        two.server.process.send_signal(signal.SIGTERM)
        assert two.server.process.wait(5) == 0
        end = time.monotonic() + 5
        while any(alive(pid) for pid in pids):
            assert time.monotonic() < end
            time.sleep(ASK)


def test_workers_do_not_outlive_their_supervisor(tmp_path: Path) -> None:
    with fleet(tmp_path, **ALONE) as two:
        pids = two.pids().values()
        two.server.process.kill()
        two.server.process.wait(5)
        end = time.monotonic() + 20
        while any(alive(pid) for pid in pids):
            assert time.monotonic() < end
            time.sleep(ASK)


def test_a_new_server_has_the_ports_while_workers_of_a_dead_one_still_drain(tmp_path: Path) -> None:
    with fleet(tmp_path, **ALONE) as two, busy(two):
        pids = two.pids().values()
        two.server.process.kill()
        two.server.process.wait(5)
        two.until_free()
        assert any(alive(pid) for pid in pids)
