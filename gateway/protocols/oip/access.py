"""Who may make the calls that change the server: nobody, who has the token, or everybody."""

from __future__ import annotations

from gateway.core.errors import PermissionDenied, SluiceError, Unauthenticated
from gateway.protocols.bearer import same
from gateway.settings.schema import Access


class Gate:
    """One group of restricted calls.

    name     the group, as messages call it
    setting  the setting that opens or closes it
    token    what callers present as ``Authorization: Bearer …``; empty: none is accepted
    """

    def __init__(self, name: str, setting: str, access: Access, token: str) -> None:
        self.name = name
        self.setting = setting
        self.access = access
        self._token = token.encode()

    @property
    def actor(self) -> str:
        """Who passes, for the audit trail."""
        return "token" if self.access == "token" else "anonymous"

    def check(self, token: bytes) -> None:
        """Raises PermissionDenied where nobody may pass, Unauthenticated where the token is wrong."""
        if self.access == "open":
            return
        if self.access == "off":
            raise self.closed(PermissionDenied)
        if not same(token, self._token):
            raise Unauthenticated(
                f"{self.name} needs the admin token: send 'Authorization: Bearer <token>'"
                f" (setting '{self.setting}' is 'token')"
            )

    def closed(self, error: type[SluiceError]) -> SluiceError:
        """The error for a group that is off, which says what opens it."""
        return error(f"{self.name} is off: setting '{self.setting}' opens it ('token' or 'open')")
