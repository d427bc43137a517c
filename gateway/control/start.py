"""What a worker is told before it does anything."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.control.spawn import Role
from gateway.models.served import ServedFolder
from gateway.store.contract import State


class Extent(msgspec.Struct, array_like=True):
    """A registered region of shared memory."""

    name: str
    key: str
    offset: int
    byte_size: int


class Current(msgspec.Struct):
    """What was changed since the start and is in no store.

    logging, sampling   what log and trace settings were set to; None where nobody did
    """

    logging: dict[str, Any] | None = None
    sampling: tuple[bool, float] | None = None
    regions: list[Extent] = []


class Start(msgspec.Struct):
    """The snapshot and all else but the settings, which it knows already.

    role, slot  what it is from now on
    served      what of the repository the other workers serve; None: whatever there is
    """

    role: Role
    slot: int
    token: str
    state: State
    served: dict[str, ServedFolder] | None
    spool: str
