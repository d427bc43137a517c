"""Workers die: at a place in the code, or at any moment; and what may have changed when they come back."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

from chaos.faults.fault import PASSED, Strike

if TYPE_CHECKING:
    from chaos.round import Round


def crash_at(point: str) -> Strike:
    """The worker kills itself there, at one of its first passes."""

    def strike(round_: Round, chance: random.Random) -> bool:
        round_.alone()
        round_.worker.end(signal.SIGKILL)
        round_.worker.start(f"{point}:{1 if point == 'in-dead-letter' else chance.randint(1, 4)}")
        round_.send(poison=True)
        died = round_.worker.died_by_itself(PASSED)
        in_flight = round_.in_flight()
        round_.worker.end(signal.SIGKILL)
        round_.worker.start()
        return died and in_flight

    return strike


def kill(round_: Round, chance: random.Random) -> bool:
    """At any moment at all; one of two, or all there are."""
    round_.company(chance)
    in_flight = round_.load(chance)
    round_.kill(chance)
    round_.worker.start()
    return in_flight


def split_changes(round_: Round, chance: random.Random) -> bool:
    """Between the workers' death and their return: what comes again may meet another version than before."""
    round_.alone()
    in_flight = round_.load(chance)
    round_.worker.end(signal.SIGKILL)
    second = chance.choice([share for share in (0, 30, 70, 100) if share != round_.share])
    round_.split(second)
    round_.worker.start()
    return in_flight


def delivered_again(round_: Round, chance: random.Random) -> bool:
    """What was delivered and done before comes again, among what is new."""
    round_.alone()
    in_flight = round_.load(chance)
    round_.worker.end(signal.SIGKILL)
    round_.pipeline.again()
    round_.worker.start()
    return in_flight
