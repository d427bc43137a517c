"""What a call needs of its caller, whatever carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.core.access import Action
from gateway.core.errors import PermissionDenied, SluiceError, Unauthenticated
from gateway.settings.schema import Access


class Gate:
    """Calls that change the server, and that a setting gives to nobody, to who has the admin token, or to everybody.

    Where the gateway is closed its policies say who may; then only `off` counts here.

    name      the group, as messages call it
    setting   the setting that opens or closes it
    refusal   what a call is answered where the group is off
    """

    def __init__(self, name: str, setting: str, access: Access, refusal: type[SluiceError] = PermissionDenied) -> None:
        self.name: Final = name
        self.setting: Final = setting
        self.access: Final = access
        self._refusal: Final = refusal

    @property
    def off(self) -> bool:
        return self.access == "off"

    def refused(self) -> SluiceError:
        """Says what opens the group."""
        return self._refusal(f"{self.name} is off: setting '{self.setting}' opens it ('token' or 'open')")

    def unknown(self) -> SluiceError:
        """For callers without the token."""
        return Unauthenticated(
            f"{self.name} needs the admin token: send 'Authorization: Bearer <token>'"
            f" (setting '{self.setting}' is 'token')"
        )


@dataclass(frozen=True, slots=True)
class Need:
    """action   on the model that the call names, or on the server; None: nothing, whoever asks is answered
    gate     for calls that settings restrict beside
    """

    action: Action | None
    gate: Gate | None = None


FREE: Final = Need(None)
INFER, READ, LOAD, SPLIT, ADMIN = Need("infer"), Need("read"), Need("load"), Need("split"), Need("admin")
