"""The policy layer out of the settings: one guard for all ports of a process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.routing import BaseRoute

from gateway.core.errors import Unavailable
from gateway.protocols.checkpoint import Checkpoint
from gateway.protocols.doorman import Doorman
from gateway.protocols.rest.openapi.demand import Demand
from gateway.security.cells import Cells
from gateway.security.denial import Denials
from gateway.security.guard import Guard, Verifier
from gateway.security.origin import Origins
from gateway.security.policy import Policies, Policy
from gateway.security.quota import Quota, Quotas, Rate
from gateway.settings import Settings
from gateway.settings.auth import Jwt, QuotaSetting

if TYPE_CHECKING:
    from gateway.security.jwks import Jwks


class Security:
    """`enter` reads an issuer's keys from then on, where the settings name one.

    cells   where all processes of a server count against quotas; None: this is the only one
    """

    def __init__(self, settings: Settings, token: str, cells: Cells | None = None) -> None:
        auth = settings.auth
        self._jwks: Jwks | None = None
        tokens: Verifier | None = None
        if auth.jwt.issuer:
            self._jwks, tokens = _tokens(auth.jwt)
        policies = Policies(Policy(given.who, given.allow, given.models) for given in auth.policies)
        self.guard: Final = Guard(token, policies, Quotas(map(_quota, auth.quotas), cells), tokens)
        self._demand: Final = Demand(
            self.guard, settings.tls.client_auth if settings.tls.cert else "none", auth.jwt.issuer
        )
        self.origins: Final = Origins(auth.trusted_proxies)
        self.denials: Final = Denials()

    async def enter(self, stack: AsyncExitStack) -> None:
        if self._jwks is not None:
            self._jwks.changed = self.guard.renew
            await stack.enter_async_context(self._jwks)

    def checkpoint(self, port: str, *, always: bool = False) -> Checkpoint:
        return Checkpoint(self.guard, port, self.denials, always=always)

    def demand(self) -> Demand:
        """What REST's OpenAPI document says of credentials."""
        return self._demand

    def rest(self, routes: Sequence[BaseRoute]) -> Doorman:
        return Doorman(self.checkpoint("rest"), routes, self.origins, slashes=True)

    def admin(self, routes: Sequence[BaseRoute]) -> Doorman:
        return Doorman(self.checkpoint("admin", always=True), routes, self.origins)


def _quota(given: QuotaSetting) -> Quota:
    return Quota(
        given.who,
        Rate.of(given.requests_per_second, given.requests_burst),
        Rate.of(given.rows_per_second, given.rows_burst),
    )


def _tokens(given: Jwt) -> tuple[Jwks, Verifier]:
    """Raises Unavailable where the library for tokens is not installed."""
    try:
        from gateway.security.jwks import Jwks
        from gateway.security.token import Expected, Tokens
    except ImportError as error:
        raise Unavailable("auth.jwt needs the extra: pip install 'sluice[jwt]'") from error

    expected = Expected(
        issuer=given.issuer,
        audience=given.audience,
        algorithms=given.algorithms,
        leeway=given.leeway,
        subject=given.subject_claim,
        groups=given.groups_claim,
    )
    jwks = Jwks(_reader(given), refresh=given.refresh, cooldown=given.cooldown)
    return jwks, Tokens(expected, jwks)


def _reader(given: Jwt) -> Callable[[], Awaitable[bytes]]:
    from gateway.security.discovery import discovered_keys
    from gateway.security.download import LARGEST, download

    def read() -> bytes:
        try:
            with Path(given.jwks_file).open("rb") as file:
                return file.read(LARGEST)
        except OSError as error:
            raise Unavailable(f"auth.jwt.jwks_file: '{given.jwks_file}': {error.strerror}") from error

    if given.jwks_file:
        return lambda: asyncio.to_thread(read)
    if not given.jwks_url:
        return lambda: discovered_keys(given.issuer, patience=given.timeout, ca_file=given.ca_file)
    return lambda: download(given.jwks_url, patience=given.timeout, ca_file=given.ca_file)
