"""A fault: what it does, and how often it interrupts a worker."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from chaos.round import Round

#: does it, puts everything in its place again, and says whether records were in flight when it struck
Strike = Callable[["Round", random.Random], bool]

#: begins the name of a fault that strikes at a place in the code
CRASH: Final = "crash "
#: seconds that a crash point may take to be passed
PASSED: Final = 40.0


@dataclass(frozen=True, slots=True)
class Fault:
    """`breaks`: how often, of all workers together, what one has in flight may be interrupted, and come again."""

    strike: Strike
    breaks: int = 1
