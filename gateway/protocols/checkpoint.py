"""One port's end of the policy layer: who calls, whether they may, and a count of those who may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.core.access import Action
from gateway.core.errors import ResourceExhausted, SluiceError, Unauthenticated
from gateway.protocols.oip.access import INFER, Need
from gateway.security.denial import Denials
from gateway.security.guard import Guard, require
from gateway.security.identity import ADMIN, ANONYMOUS, Identity
from gateway.security.principal import Principal
from gateway.security.refusal import Missing, UnknownKey

#: trying one of these in vain is worth a line in the log
_LOUD: Final[frozenset[Action]] = frozenset({"load", "split", "admin"})


class Credentials(NamedTuple):
    """`token` b"" for none; `certificate` of the connection, which was verified; `problem` is why a token that was
    presented cannot be read; `address` is the caller's."""

    token: bytes = b""
    certificate: Identity | None = None
    address: str = ""
    problem: str = ""


class Checkpoint:
    """port    its name in metrics and in the audit trail: "rest", "grpc", "admin"
    always  closed to whoever says not who they are, even as long as nothing says who may do what
    """

    def __init__(self, guard: Guard, port: str, denials: Denials | None = None, *, always: bool = False) -> None:
        self.guard: Final = guard
        self.port: Final = port
        self.denials: Final = denials or Denials()
        self._always: Final = always

    @property
    def active(self) -> bool:
        """Whether an infer request has to pass here."""
        return self.guard.active

    def admit(self, need: Need, model: str | None, credentials: Credentials, what: str = "") -> Principal:
        """Who calls, if they may, and one request off their quota. `what` is the call, for the log.

        Raises what `Guard.identify` and `require` raise, ResourceExhausted, and what the need's gate says.
        """
        try:
            principal = self._allowed(need, model, credentials)
            if need.action is not None and not self._always:
                principal.take_request()
        except SluiceError as error:
            self._deny(error, need, credentials, what)
            raise
        return principal

    def infer(self, model: str, credentials: Credentials, principal: Principal | None) -> Principal:
        """`admit` for inference, in less time for a principal that this returned before for the same credentials."""
        if principal is None or not self.guard.holds(principal) or not principal.rights.may("infer", model):
            return self.admit(INFER, model, credentials)
        try:
            principal.take_request()
        except SluiceError as error:
            self._deny(error, INFER, credentials, "")
            raise
        return principal

    def foresee(self, need: Need, credentials: Credentials, what: str = "") -> None:
        """Raises what every such call of theirs would be answered, whichever model it names: the message need not be
        read then."""
        try:
            self._allowed(need, None, credentials, some=True)
        except SluiceError as error:
            self._deny(error, need, credentials, what)
            raise

    def rows(self, principal: Principal | None) -> Callable[[int], None] | None:
        """What takes the rows of a request off its sender's quota, or raises; None where there is no such quota."""
        if principal is None or principal.meter is None or principal.meter.rows is None:
            return None

        def take(rows: int) -> None:
            try:
                principal.take_rows(rows)
            except SluiceError as error:
                self.denials.add(self.port, error)
                raise

        return take

    def authenticate(self, credentials: Credentials) -> Principal:
        """Who calls what is not there: no more than that there is nothing, and that only to those who are known."""
        try:
            principal = self._who(credentials)
            if (self._always or self.guard.closed) and principal.name == ANONYMOUS.name:
                raise self._missing()
        except SluiceError as error:
            self._deny(error, Need("read"), credentials, "")
            raise
        return principal

    def _allowed(self, need: Need, model: str | None, credentials: Credentials, *, some: bool = False) -> Principal:
        if need.action is None:
            return self._anybody(credentials)
        principal, gate = self._who(credentials), need.gate
        if self._always:
            if principal.name == ANONYMOUS.name or (not self.guard.closed and principal.name != ADMIN.name):
                raise self._missing()
            require(principal, need.action, model, some=some)
        elif self.guard.closed:
            require(principal, need.action, model, some=some)
            if gate is not None and gate.off:
                raise gate.refused()
        elif gate is not None and gate.off:
            raise gate.refused()
        elif gate is not None and gate.access == "token" and principal.name != ADMIN.name:
            raise gate.unknown()
        return principal

    def _who(self, credentials: Credentials) -> Principal:
        token = credentials.token
        if credentials.problem:
            if self.guard.closed or self._always:
                raise Unauthenticated(credentials.problem)
            token = b""
        return self.guard.identify(token, credentials.certificate, credentials.address)

    def _anybody(self, credentials: Credentials) -> Principal:
        return self.guard.identify(b"", credentials.certificate, credentials.address)

    def _missing(self) -> SluiceError:
        if self.guard.closed:
            return Missing("credentials are needed: send 'Authorization: Bearer <key or token>'")
        return Missing("the admin token is missing or wrong, expected 'Authorization: Bearer <token>'")

    def _deny(self, error: SluiceError, need: Need, credentials: Credentials, what: str) -> None:
        if isinstance(error, UnknownKey) and error.looked is not None:
            return  # it is decided at the second try
        loud = self._always or need.action in _LOUD
        shown = what if loud and not isinstance(error, ResourceExhausted) else ""
        self.denials.add(self.port, error, credentials.address, shown)
