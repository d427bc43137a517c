"""The control state as it is read beside the gateway that has it."""

from __future__ import annotations

from typing import Protocol

from gateway.store.contract import Act, State


class View(Protocol):
    """What of a store is needed to follow it. All raise Unavailable."""

    async def read(self) -> State: ...

    async def blob(self, digest: str) -> bytes:
        """Raises NotFound."""
        ...


class Notebook(View, Protocol):
    """A view that takes notes of what was done beside the gateway."""

    async def note(self, act: Act) -> None:
        """A line of the trail for what is no part of the control state, whose revision stays as it is."""
        ...
