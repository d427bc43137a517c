"""Failures on purpose, by a seed."""

from __future__ import annotations

import random
from typing import Final

from adapters.memory.settings import Faults


class Dice:
    def __init__(self, faults: Faults) -> None:
        self._random: Final = random.Random(faults.seed)  # noqa: S311 - it breaks what is to be broken

    def falls(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance
