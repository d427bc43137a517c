"""The network between workers and a server misbehaves for a while."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

from chaos.faults.fault import Strike

if TYPE_CHECKING:
    from chaos.proxy import Mode
    from chaos.round import Round

MODES: Final[tuple[Mode, ...]] = ("blackhole", "deaf", "mute", "delay", "refuse")
#: seconds: shorter than any time-out, and longer than most
_SHORT: Final = (0.5, 2.0)
_LONG: Final = (4.5, 6.0)


def network(mode: Mode) -> Strike:
    def strike(round_: Round, chance: random.Random) -> bool:
        round_.company(chance)
        proxy = chance.choice(round_.pipeline.sites).proxy
        in_flight = round_.load(chance)
        proxy.set(mode)
        time.sleep(chance.uniform(*chance.choice((_SHORT, _LONG))))
        proxy.set("pass")
        return in_flight

    return strike


def cut(round_: Round, chance: random.Random) -> bool:
    """All connections, three times."""
    round_.company(chance)
    proxy = chance.choice(round_.pipeline.sites).proxy
    in_flight = round_.load(chance)
    for _ in range(3):
        proxy.reset()
        time.sleep(chance.uniform(0.0, 0.2))
    return in_flight


def hang(round_: Round, chance: random.Random) -> bool:
    """The connections that are there carry nothing any more, new ones do: what was said on the old ones arrives when
    the workers have begun anew."""
    round_.company(chance)
    proxy = chance.choice(round_.pipeline.sites).proxy
    in_flight = round_.load(chance)
    proxy.hang()
    time.sleep(chance.uniform(4.5, 6.0))
    proxy.set("pass")
    return in_flight
