"""What is done to a pipeline while records are in flight. Each fault ends with everything in its place again."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from chaos.pipelines.pipeline import Pipeline

from gateway.core.crashpoint import POINTS

if TYPE_CHECKING:
    from chaos.round import Round

Fault = Callable[["Round", random.Random], bool]

#: begins the name of a fault that strikes at a place in the code
CRASH: Final = "crash "
#: seconds that a crash point may take to be passed
PASSED: Final = 20.0


def crash_at(point: str) -> Fault:
    """The worker kills itself there, at one of its first passes."""

    def fault(round_: Round, chance: random.Random) -> bool:
        round_.worker.end(signal.SIGKILL)
        round_.worker.start(f"{point}:{1 if point == 'in-dead-letter' else chance.randint(1, 4)}")
        round_.send(poison=True)
        died = round_.worker.died_by_itself(PASSED)
        in_flight = round_.in_flight()
        round_.worker.end(signal.SIGKILL)
        round_.worker.start()
        return died and in_flight

    return fault


def kill(round_: Round, chance: random.Random) -> bool:
    """At any moment at all."""
    round_.send()
    time.sleep(chance.uniform(0.0, 0.15))
    round_.worker.end(signal.SIGKILL)
    in_flight = round_.in_flight()
    round_.worker.start()
    return in_flight


def stand_still(round_: Round, chance: random.Random) -> bool:
    """The worker stops for longer than its session, its lease, its locks; another takes over; then it goes on."""
    round_.send()
    time.sleep(chance.uniform(0.0, 0.1))
    round_.worker.send(signal.SIGSTOP)
    in_flight = round_.in_flight()
    round_.second.start()
    # it may stand still with the lock of a database that is a file: then nothing can be sent before it goes on
    timer = threading.Timer(chance.uniform(3.0, 5.5), round_.worker.send, [signal.SIGCONT])
    timer.start()
    round_.send()
    timer.join()
    time.sleep(0.5)
    round_.second.end()
    return in_flight


def share(round_: Round, chance: random.Random) -> bool:
    """Another worker comes and goes: partitions are shared out anew, twice."""
    round_.send()
    round_.second.start()
    time.sleep(chance.uniform(1.0, 1.6))
    round_.send()
    in_flight = round_.in_flight()
    round_.second.end(chance.choice((signal.SIGTERM, signal.SIGKILL)))
    return in_flight


def server_restarts(round_: Round, chance: random.Random) -> bool:
    """In good order, but in the middle."""
    return _server(round_, chance, None)


def server_dies(round_: Round, chance: random.Random) -> bool:
    return _server(round_, chance, signal.SIGKILL)


def _server(round_: Round, chance: random.Random, number: int | None) -> bool:
    server = round_.pipeline.server
    assert server is not None
    round_.send()
    in_flight = round_.in_flight()
    server.stop(number)
    server.start()
    return in_flight


def network(mode: str) -> Fault:
    """Between the worker and the server, for a while."""

    def fault(round_: Round, chance: random.Random) -> bool:
        proxy = round_.pipeline.proxy
        assert proxy is not None
        round_.send()
        time.sleep(chance.uniform(0.0, 0.05))
        if mode == "reset":
            proxy.reset()
            in_flight = round_.in_flight()
            for _ in range(2):
                proxy.reset()
                time.sleep(chance.uniform(0.0, 0.2))
        else:
            proxy.set(mode)  # type: ignore[arg-type]
            in_flight = round_.in_flight()
            time.sleep(chance.uniform(0.5, 2.0))
        proxy.set("pass")
        return in_flight

    return fault


def other_version(round_: Round, chance: random.Random) -> bool:
    """The split changes between the worker's death and its return."""
    round_.send()
    time.sleep(chance.uniform(0.0, 0.1))
    round_.worker.end(signal.SIGKILL)
    in_flight = round_.in_flight()
    share_ = chance.choice((0, 30, 100))
    round_.split({"1": 100 - share_, "2": share_})
    round_.worker.start()
    return in_flight


CRASHES: Final[dict[str, Fault]] = {f"{CRASH}{point}": crash_at(point) for point in POINTS}
NETWORK: Final[dict[str, Fault]] = {
    f"network {mode}": network(mode) for mode in ("reset", "blackhole", "deaf", "mute", "delay", "refuse")
}
OTHERS: Final[dict[str, Fault]] = {
    "kill -9": kill,
    "stands still": stand_still,
    "worker comes and goes": share,
    "split changes": other_version,
}
SERVER: Final[dict[str, Fault]] = {"server restarts": server_restarts, "server dies": server_dies}


def faults_of(pipeline: Pipeline) -> dict[str, Fault]:
    found = CRASHES | OTHERS
    if not pipeline.commits:
        found = {name: fault for name, fault in found.items() if name != f"{CRASH}before-commit"}
    if pipeline.server is not None:
        found = found | SERVER
    if pipeline.proxy is not None:
        found = found | NETWORK
    return found
