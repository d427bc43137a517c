"""The servers of a pipeline go, and come back with what they had."""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING

from chaos.faults.fault import PASSED

if TYPE_CHECKING:
    from chaos.round import Round


def restarts(round_: Round, chance: random.Random) -> bool:
    """In good order, but in the middle."""
    return _goes(round_, chance, None)


def dies(round_: Round, chance: random.Random) -> bool:
    return _goes(round_, chance, signal.SIGKILL)


def _goes(round_: Round, chance: random.Random, number: int | None) -> bool:
    round_.company(chance)
    site = chance.choice(round_.pipeline.sites)
    in_flight = round_.load(chance)
    site.server.stop(number)
    site.server.start()
    return in_flight


def in_commit(round_: Round, chance: random.Random) -> bool:
    """It gets a commit, and goes before the worker hears of it: the worker cannot know what became of it."""
    round_.company(chance)
    site = round_.pipeline.sites[0]
    trap = site.proxy.trap(round_.pipeline.is_commit)
    round_.send()
    sprung = trap.wait(PASSED)
    in_flight = round_.in_flight()
    time.sleep(chance.choice((0.0, 0.005, 0.05)))
    site.server.stop(chance.choice((None, signal.SIGKILL)))
    site.server.start()
    return sprung and in_flight
