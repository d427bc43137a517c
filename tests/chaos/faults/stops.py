"""Workers that stand still, and go on when another has their work: what they write then must not count."""

from __future__ import annotations

import random
import signal
import threading
from typing import TYPE_CHECKING, Final

from chaos.faults.fault import PASSED, Strike

if TYPE_CHECKING:
    from chaos.round import Round


#: seconds that another worker may take to do it all
_TAKEN_OVER: Final = 40.0


def stop_at(point: str) -> Strike:
    """The worker stops at that place with a write in its hands. Another takes over and does everything; then it goes
    on, while there is more to do."""

    def strike(round_: Round, chance: random.Random) -> bool:
        round_.alone()
        round_.worker.end(signal.SIGKILL)
        round_.worker.start(f"{point}:{chance.randint(1, 4)}:STOP")
        round_.send()
        stopped = round_.worker.stopped_by_itself(PASSED)
        in_flight = round_.in_flight()
        round_.second.start()
        done = round_.settled(_TAKEN_OVER)
        if done:
            round_.send()
        if stopped:
            round_.worker.go_on()
        else:
            round_.worker.end(signal.SIGKILL)  # it would stop in another round
        round_.settled()
        round_.second.end(chance.choice((signal.SIGTERM, signal.SIGKILL)))
        # another of its threads may have stopped with the lock of a database that is a file: then nobody takes over
        return stopped and in_flight and (done or round_.pipeline.locks)

    return strike


def stand_still(round_: Round, chance: random.Random) -> bool:
    """At any moment, for longer than its session, its lease, its locks, or not quite so long."""
    round_.alone()
    in_flight = round_.load(chance)
    round_.worker.stop()
    round_.second.start()
    # it may stand still with the lock of a database that is a file: then nothing can be sent before it goes on
    timer = threading.Timer(chance.uniform(3.0, 5.5), round_.worker.go_on)
    timer.start()
    round_.send()
    timer.join()
    round_.settled()
    round_.second.end()
    return in_flight
