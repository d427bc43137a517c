"""Who sends a request, found by its head: asked before anything of its body is kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.core.errors import SluiceError, Unavailable
from gateway.protocols.http import head
from gateway.protocols.http.asgi import Scope
from gateway.security.principal import Principal
from gateway.security.refusal import UnknownKey

if TYPE_CHECKING:
    from gateway.protocols.doorman import Doorman
    from gateway.protocols.http.connection import Connection

#: bytes of a body that are read although its sender is denied, so that the connection can go on
BRIEF: Final = 16 << 10


class Admission:
    """target     model and version of an infer request; of others `scope` is what their application is asked with
    brief      its body is small, and its client will send it whatever it hears
    token      what its sender presents to infer, None where nobody has looked
    principal  who that is, where it counts
    denied     why it is not answered
    looked     done when it will be known who sends it
    """

    __slots__ = ("brief", "denied", "headers", "looked", "principal", "scope", "target", "token")

    def __init__(
        self, target: tuple[str, str] | None, headers: head.Headers, fields: head.Fields, scope: Scope | None
    ) -> None:
        self.target = target
        self.headers = headers
        self.scope: Scope = scope if scope is not None else {}
        self.brief = _is_brief(fields)
        self.token: bytes | None = None
        self.principal: Principal | None = None
        self.denied: SluiceError | None = None
        self.looked: asyncio.Future[None] | None = None

    @property
    def passed(self) -> bool:
        """Its sender may send it, as far as the head tells."""
        return self.denied is None and self.looked is None

    @property
    def loads(self) -> bool:
        """It is a load call of somebody who may make one: those may be large."""
        return self.scope.get("action") == "load" and "principal" in self.scope

    def settle(self, doorman: Doorman, wire: Connection) -> None:
        """Who it is, why they are denied, or when that will be known."""
        try:
            self.ask(doorman, wire)
        except UnknownKey as error:
            if error.looked is None:
                self.denied = error
            elif self.brief:
                self.looked = error.looked
            else:
                self.denied = Unavailable("the keys of the token's issuer are being read", retry_after=1.0)
        except SluiceError as error:
            self.denied = error

    def ask(self, doorman: Doorman, wire: Connection) -> None:
        """Raises what the request is answered."""
        if self.target is None:
            doorman.admit(self.scope)
        elif doorman.active:
            self.token, self.principal = doorman.infer(self.target[0], self.headers, wire)


def _is_brief(fields: head.Fields) -> bool:
    if b"transfer-encoding" in fields or b"expect" in fields:
        return False
    length = fields.get(b"content-length", b"0")
    return len(length) < 9 and int(length) <= BRIEF
