"""Who may send what to an HTTP port, decided by a request's head: before its body is read.

What a route needs is found by the routes themselves, so that there is one opinion on where a path leads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.control.caller import Caller
from gateway.core.errors import ResourceExhausted, SluiceError, Unauthenticated
from gateway.protocols.checkpoint import Checkpoint, Credentials
from gateway.protocols.errors import on_error
from gateway.protocols.oip.access import INFER
from gateway.protocols.route import need_of
from gateway.security.credential import presented
from gateway.security.grant import NOTHING, Rights
from gateway.security.identity import Identity
from gateway.security.origin import Origins
from gateway.security.principal import Principal

if TYPE_CHECKING:
    from gateway.protocols.http.connection import Connection
    from gateway.protocols.http.heads import Known

Headers = Iterable[tuple[bytes, bytes]]

_FORWARDED: Final = b"x-forwarded-for"


class Doorman:
    """routes    those of the port's application
    slashes   it takes a path with a slash at its end for the same without it
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        routes: Sequence[BaseRoute],
        origins: Origins | None = None,
        *,
        slashes: bool = False,
    ) -> None:
        self._slashes: Final = slashes
        self._checkpoint: Final = checkpoint
        self._guard: Final = checkpoint.guard
        self._routes: Final = routes
        self._origins: Final = origins or Origins()

    # ---- inference

    @property
    def active(self) -> bool:
        """Whether infer requests have to pass here."""
        return self._guard.active

    def infer(self, model: str, headers: Sequence[tuple[bytes, bytes]], wire: Connection) -> tuple[bytes, Principal]:
        """The token and who presents it. Raises as `Checkpoint.admit` does."""
        credentials = self._read(headers, wire.client, wire.certificate)
        return credentials.token, self._checkpoint.admit(INFER, model, credentials)

    def again(self, known: Known, wire: Connection) -> Principal | None:
        """The same for a head that was seen before, in less time; None where it takes a second look."""
        principal = known.principal
        if principal is not None:
            if not self._guard.holds(principal):
                return None
        elif known.token == b"":
            address = self._address(wire.client, known.fields.get(_FORWARDED, b""))
            principal = self._guard.identify(b"", wire.certificate, address)
            if not principal.rights.may("infer", known.target[0]):
                return None
        else:
            return None
        if principal.meter is not None:
            try:
                principal.take_request()
            except ResourceExhausted:
                return None
        return principal

    def rows(self, principal: Principal | None) -> Callable[[int], None] | None:
        """As `Checkpoint.rows`."""
        return self._checkpoint.rows(principal)

    # ---- every other route

    def admit(self, scope: Scope) -> None:
        """Leaves in the scope who it is (`principal`, `address`) and what for (`action`).

        Raises as `Checkpoint.admit` does.
        """
        client = scope.get("client")
        credentials = self._read(scope["headers"], client[0] if client else "", scope.get("certificate"))
        scope["address"] = credentials.address
        scope["principal"] = self._passed(scope, credentials)

    def _passed(self, asked: Scope, credentials: Credentials) -> Principal:
        scope = normal(asked) if self._slashes else asked
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                need = need_of(route, scope["method"])
                asked["action"] = need.action
                model = found.get("path_params", {}).get("model")
                return self._checkpoint.admit(need, model, credentials, f"{scope['method']} {scope['path']}")
        return self._checkpoint.authenticate(credentials)

    def _read(self, headers: Headers, peer: str, certificate: Identity | None) -> Credentials:
        address = peer
        if self._origins:
            forwarded = b",".join(value for name, value in headers if name == _FORWARDED)
            address = self._origins.of(peer, forwarded.decode("latin-1"))
        try:
            return Credentials(presented(headers), certificate, address)
        except Unauthenticated as problem:
            return Credentials(b"", certificate, address, problem.message)

    def _address(self, peer: str, forwarded: bytes) -> str:
        return self._origins.of(peer, forwarded.decode("latin-1")) if forwarded and self._origins else peer


class Guarded:
    """An application behind a doorman, whether its server has asked him by the head already or not."""

    def __init__(self, app: ASGIApp, doorman: Doorman) -> None:
        self._app = app
        self._doorman = doorman

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "principal" not in scope:
            try:
                self._doorman.admit(scope)
            except SluiceError as error:
                await (await on_error(Request(scope), error))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def normal(scope: Scope) -> Scope:
    """A path with a slash at its end means the same without it."""
    path = scope["path"]
    return {**scope, "path": path[:-1]} if len(path) > 1 and path.endswith("/") else scope


def rights(request: Request) -> Rights:
    """Of who asks; none where nobody has looked who it is."""
    principal: Principal | None = request.scope.get("principal")
    return principal.rights if principal is not None else NOTHING


def caller(request: Request, port: str) -> Caller:
    """Who asks and from where, for the audit trail."""
    scope: Mapping[str, Any] = request.scope
    principal: Principal | None = scope.get("principal")
    client = scope.get("client")
    address = scope.get("address") or (client[0] if client else "")
    return {"actor": principal.name if principal else "unknown", "origin": f"{port} {address}".strip()}
