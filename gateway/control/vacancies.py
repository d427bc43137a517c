"""Slots that nobody is in: somebody else accepts in their place meanwhile, or who connects to them would wait."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from gateway.control.member import Member
from gateway.control.slot import Slot
from gateway.core.errors import SluiceError

logger = logging.getLogger("sluice.control")


class Vacancies:
    """`members` are those that may be asked to adopt a slot."""

    def __init__(self, members: Callable[[], Iterable[Member]]) -> None:
        self._members = members
        #: slot → the member that accepts in its place
        self._adopters: dict[int, Member] = {}

    async def begin(self, slot: Slot) -> None:
        ready = [member for member in self._members() if member.state == "ready"]
        while slot.number not in self._adopters and ready:
            taken = list(self._adopters.values())
            member = min(ready, key=taken.count)
            ready.remove(member)
            with suppress(SluiceError):
                await member.call("adopt", slot.number)
                self._adopters[slot.number] = member
                logger.info("worker %d accepts for worker %d meanwhile", member.slot, slot.number)

    async def end(self, slot: Slot) -> None:
        """Its own worker accepts again."""
        if (adopter := self._adopters.pop(slot.number, None)) is not None:
            with suppress(SluiceError):
                await adopter.call("release_slot", slot.number)

    def forget(self, member: Member) -> list[int]:
        """It is dead. Returns the slots in whose place it accepted."""
        orphaned = [number for number, adopter in self._adopters.items() if adopter is member]
        for number in orphaned:
            del self._adopters[number]
        return orphaned
