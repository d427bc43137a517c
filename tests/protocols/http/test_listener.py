"""How a gateway stops: signals, exit codes, and what becomes of requests that were sent."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateways import Server, running
from rawhttp import Raw, infer, request, tensor

GOOD = infer("affine", tensor("x", [1, 4], "FP32", [1, 2, 3, 4]))


def laps(count: int) -> bytes:
    return infer("laps", tensor("n", [], "INT64", [count]))


@pytest.fixture
def brief(attacked_models: Path, tmp_path: Path) -> Iterator[Server]:
    """One that a test ends."""
    with running(attacked_models, tmp_path, drain_timeout="1", limits_header_timeout="60") as server:
        yield server


@pytest.fixture
def delayed(attacked_models: Path, tmp_path: Path) -> Iterator[Server]:
    with running(attacked_models, tmp_path, drain_delay="0.5", drain_timeout="20") as server:
        yield server


class Caller(threading.Thread):
    """Sends one request after the other, and connects again where it is told that the connection closes."""

    def __init__(self, server: Server, data: bytes) -> None:
        super().__init__(daemon=True)
        self.server, self.data = server, data
        self.answered = self.told = 0
        #: requests that were sent on a connection of which nobody had said that it would close
        self.lost: list[str] = []
        self.statuses: set[int] = set()

    def run(self) -> None:
        while True:
            try:
                client = Raw(self.server.host)
            except OSError:
                return  # it does not listen any more
            with client:
                try:
                    self.talk(client)
                except (EOFError, OSError) as error:
                    self.lost.append(repr(error))
                    return

    def talk(self, client: Raw) -> None:
        while True:
            reply = client.send(self.data).reply()
            self.answered += 1
            self.statuses.add(reply.status)
            if reply.closes:
                self.told += 1
                assert client.ends()
                return


def stopped_under_load(server: Server, number: int) -> tuple[list[Caller], int]:
    callers = [
        Caller(server, data) for data in (GOOD, laps(3), request("/v2/models/affine", method="GET")) for _ in range(5)
    ]
    for caller in callers:
        caller.start()
    while min(caller.answered for caller in callers) < 5:
        time.sleep(0.01)
    server.process.send_signal(number)
    code = server.process.wait(20)
    for caller in callers:
        caller.join(10)
    return callers, code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_no_request_is_lost_when_it_stops(delayed: Server, number: int, code: int) -> None:
    callers, found = stopped_under_load(delayed, number)
    assert found == code
    assert [caller.lost for caller in callers if caller.lost] == []
    assert all(caller.told for caller in callers)
    assert set().union(*(caller.statuses for caller in callers)) == {200}
    assert "not ready any more" in delayed.log()


def test_it_is_not_ready_but_answers_while_it_waits_for_the_load_balancer(delayed: Server) -> None:
    delayed.process.send_signal(signal.SIGTERM)
    ready = request("/v2/health/ready", method="GET")
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with Raw(delayed.host) as client:
            reply = client.send(ready).reply()
        if reply.status == 503:
            break
    assert (reply.json, reply.closes) == ({"ready": False}, True)
    with Raw(delayed.host) as client:
        assert client.send(GOOD).reply().closes
    assert delayed.process.wait(10) == 0


def test_what_is_under_way_is_answered(delayed: Server) -> None:
    """In flight, in the queue, half sent, and on a connection that is idle."""
    with (
        Raw(delayed.host) as running_,
        Raw(delayed.host) as queued,
        Raw(delayed.host) as half,
        Raw(delayed.host) as idle,
    ):
        assert idle.send(GOOD).reply().status == 200
        running_.send(laps(3000))
        queued.send(laps(5) + GOOD)
        half.send(GOOD[:-3])
        assert idle.send(GOOD).reply().status == 200
        delayed.process.send_signal(signal.SIGTERM)
        assert idle.ends()
        assert (reply := half.send(GOOD[-3:]).reply()).status == 200
        assert reply.closes
        assert [(reply := queued.reply()).status for _ in range(2)] == [200, 200]
        assert reply.closes
        assert (reply := running_.reply()).status == 200
        assert reply.closes
        assert delayed.process.wait(10) == 0


def test_a_client_that_never_finishes_is_cut_at_the_drain_time_out(brief: Server) -> None:
    with Raw(brief.host) as stuck:
        stuck.send(GOOD[:-3])
        with Raw(brief.host) as other:
            assert other.send(GOOD).reply().status == 200
        began = time.monotonic()
        brief.process.send_signal(signal.SIGTERM)
        assert brief.process.wait(10) == 0
        assert 0.9 < time.monotonic() - began < 4
        assert stuck.ends()


def test_a_model_that_never_finishes_keeps_it_no_longer(brief: Server) -> None:
    with Raw(brief.host) as client:
        client.send(laps(100_000))
        with Raw(brief.host) as other:
            assert other.send(GOOD).reply().status == 200
        began = time.monotonic()
        brief.process.send_signal(signal.SIGTERM)
        assert brief.process.wait(10) == 0
        assert time.monotonic() - began < 6
        assert client.ends()
    assert "left behind" in brief.log()


def test_a_second_signal_ends_it_at_once(delayed: Server) -> None:
    with Raw(delayed.host) as client:
        client.send(laps(100_000))
        with Raw(delayed.host) as other:
            assert other.send(GOOD).reply().status == 200
        delayed.process.send_signal(signal.SIGTERM)
        while "not ready any more" not in delayed.log():
            time.sleep(0.01)
        began = time.monotonic()
        delayed.process.send_signal(signal.SIGINT)
        assert delayed.process.wait(10) == 130
        assert time.monotonic() - began < 0.5
        assert client.ends()
