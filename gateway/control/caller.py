"""Who asks for a change, for the audit trail, and what they know of the state."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import NotRequired, Protocol, TypedDict, Unpack

from gateway.store.contract import Act


class Caller(TypedDict):
    """actor      who: "admin", "key:…", "jwt:…", "cert:…", "anonymous"
    origin     from where: the port and the address
    expected   the revision that they decided on; None or left out: whichever is the newest
    """

    actor: str
    origin: str
    expected: NotRequired[int | None]


class Note(Protocol):
    """Writes into the audit trail what is no part of the desired state; see `ControlPlane.note`."""

    def __call__(
        self, action: str, target: str, detail: Mapping[str, object] | None = None, **by: Unpack[Caller]
    ) -> Awaitable[None]: ...


async def unnoted(action: str, target: str, detail: Mapping[str, object] | None = None, **by: Unpack[Caller]) -> None:
    """A `Note` for where there is no trail."""


def act(by: Caller, action: str, target: str, **detail: object) -> Act:
    """An entry of the trail; what is None or empty is left out of its detail."""
    kept: Mapping[str, object] = {name: value for name, value in detail.items() if value not in (None, "", {})}
    return Act(by["actor"], by["origin"], action, target, kept)
