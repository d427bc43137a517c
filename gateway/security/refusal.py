"""Why credentials are not taken, where that is more than that they are wrong."""

from __future__ import annotations

import asyncio

from gateway.core.errors import Unauthenticated


class Missing(Unauthenticated):
    """None were presented."""


class Expired(Unauthenticated):
    """They were good until a time that has passed."""


class Revoked(Unauthenticated):
    """They were good until somebody took them back."""


class UnknownKey(Unauthenticated):
    """A token may be signed with a key that its issuer has and we have not. `looked` is done when we have looked anew:
    then it is worth a second try. None: we have looked just before."""

    def __init__(self, looked: asyncio.Future[None] | None) -> None:
        super().__init__("the token is signed with a key that its issuer is not known to have")
        self.looked = looked
