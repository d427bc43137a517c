"""The one policy layer under every port: from what a caller presents to what they may do.

The gateway is open until something says who may do what: a policy, an API key that is or was, an issuer of tokens.
From then on what nothing allows is denied. It does not open again by itself: a key that is revoked is kept as such.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeVar

from gateway.core.access import Action
from gateway.core.errors import PermissionDenied, Unauthenticated
from gateway.security.grant import Grant
from gateway.security.identity import ADMIN, ANONYMOUS, Identity
from gateway.security.keyring import Keyring, Record
from gateway.security.policy import Policies
from gateway.security.principal import Principal
from gateway.security.quota import Quotas
from gateway.security.refusal import Missing

K = TypeVar("K")

#: tokens that are remembered, and addresses and certificates
MOST: Final = 1024

#: of everybody, as long as nothing says otherwise
_OPEN: Final = (Grant("infer"), Grant("read"))


class Verifier(Protocol):
    def identify(self, token: bytes) -> Identity | None:
        """None for what is no token of its kind. Raises Unauthenticated, Unavailable."""
        ...


class Guard:
    """Belongs to the event loop's thread.

    admin_token   who presents it may do everything, on every port; "" is matched by nothing
    epoch         changes whenever somebody who was let in may have to be asked again
    """

    def __init__(
        self,
        admin_token: str = "",
        policies: Policies | None = None,
        quotas: Quotas | None = None,
        tokens: Verifier | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.epoch = 0
        self._admin_token: Final = admin_token.encode()
        self._policies: Final = policies or Policies(())
        self._quotas: Final = quotas or Quotas(())
        self._tokens: Final = tokens
        self._clock: Final = clock
        self._keyring = Keyring({})
        #: by the token itself: whoever can read this memory can read the requests, too
        self._known: dict[bytes, Principal] = {}
        self._peers: dict[tuple[Identity, str], Principal] = {}
        self.closed = False
        #: whether a request has to pass here at all
        self.active = False
        self.renew()

    def follow(self, keys: Mapping[str, Record]) -> None:
        """The API keys of a new snapshot."""
        if keys != self._keyring.records:
            self._keyring = Keyring(keys)
            self.renew()

    def renew(self) -> None:
        """Who was let in is asked again."""
        self.epoch += 1
        self._known.clear()
        self._peers.clear()
        self.closed = bool(self._policies) or self._tokens is not None or bool(self._keyring.records)
        self.active = self.closed or bool(self._quotas)

    # ---- who

    def identify(self, token: bytes, certificate: Identity | None = None, address: str = "") -> Principal:
        """Who presents the token; without one whom the certificate names, which was verified; or nobody.

        Raises Unauthenticated, and Unavailable where it cannot be said now. As long as the gateway is open, a token
        that is not known is none.
        """
        if not token:
            return self._nameless(certificate, address)
        principal = self._known.get(token)
        if principal is None or principal.expires <= self._clock():
            identity = self._identity(token)
            if identity is None:
                if self.closed:
                    raise Unauthenticated("the token is not known")
                return self._nameless(certificate, address)
            principal = self._principal(identity)
            _remember(self._known, token, principal)
        return principal

    def holds(self, principal: Principal) -> bool:
        """Whether one who was let in before still is who they were."""
        return principal.epoch == self.epoch and principal.expires > self._clock()

    def _identity(self, token: bytes) -> Identity | None:
        if self._admin_token and hmac.compare_digest(token, self._admin_token):
            return ADMIN
        identity = self._keyring.identify(token) if self.closed else None
        if identity is None and self._tokens is not None:
            identity = self._tokens.identify(token)
        return identity

    def _nameless(self, certificate: Identity | None, address: str) -> Principal:
        identity = certificate or ANONYMOUS
        key = identity, address if self._quotas else ""
        principal = self._peers.get(key)
        if principal is None:
            principal = self._principal(identity, address)
            _remember(self._peers, key, principal)
        return principal

    def _principal(self, identity: Identity, address: str = "") -> Principal:
        if not self.closed and identity is not ADMIN:
            identity = Identity(identity.names, (*identity.grants, *_OPEN), identity.expires)
        meter = self._quotas.meter(identity, address)
        return Principal(identity, self._policies.rights(identity), meter, self.epoch)


def require(principal: Principal, action: Action, model: str | None = None, *, some: bool = False) -> None:
    """`model` None: what is of no one model. To see it needs the right for any of them, to change it that for all;
    with `some`, that for any is enough.

    Raises PermissionDenied, which is the same whether a model is there or not; Missing for who has not said who they
    are.
    """
    rights = principal.rights
    if model is not None:
        allowed = rights.may(action, model)
    elif some or action in ("infer", "read"):
        allowed = rights.may_some(action)
    else:
        allowed = rights.may_all(action)
    if allowed:
        return
    if principal.name == ANONYMOUS.name:
        raise Missing("credentials are needed: send 'Authorization: Bearer <key or token>' or 'x-api-key: <key>'")
    where = "" if model is None else f" with model '{model[:255]}'"
    raise PermissionDenied(f"'{principal.name}' may not '{action}'{where}")


def _remember(known: dict[K, Principal], key: K, principal: Principal) -> None:
    if len(known) >= MOST and key not in known:
        del known[next(iter(known))]
    known[key] = principal
