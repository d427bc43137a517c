"""Hard times: members that come and go under load, a model that takes longer than a session, a disk that is full."""

from __future__ import annotations

import random
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from chaos.round import Round

#: seconds between two changes of the members
_EVERY: Final = 2.0


def members_change(round_: Round, chance: random.Random) -> bool:
    """Every two seconds, while records keep coming, a second and a third worker join and leave, in good order or not:
    what there is to do is shared out anew each time."""
    round_.alone()
    leave = [partial(worker.end, number) for worker, number in zip(
        (round_.second, round_.third), chance.sample((signal.SIGTERM, signal.SIGKILL), 2), strict=True
    )]  # fmt: skip
    in_flight = True
    for change in (round_.second.start, round_.third.start, *leave):
        end = time.monotonic() + _EVERY
        while time.monotonic() < end:
            if round_.pipeline.waiting() < round_.pipeline.chunk // 2:
                round_.send()
            time.sleep(0.1)
        in_flight &= round_.load(chance)
        change()
    return in_flight


def slow_model(round_: Round, chance: random.Random) -> bool:
    """For one record it takes longer than a session and a lease last, while another worker waits for its chance."""
    round_.alone()
    round_.second.start()
    in_flight = round_.load(chance, slow=True)
    round_.settled()
    round_.second.end()
    return in_flight


def disk_full(round_: Round, chance: random.Random) -> bool:
    """That of the results, until somebody makes room."""
    disk = round_.pipeline.disk
    assert disk is not None
    round_.company(chance)
    round_.send()
    with disk.full():
        in_flight = round_.in_flight()
        time.sleep(chance.uniform(1.0, 3.0))
        in_flight &= round_.in_flight()
    return in_flight
