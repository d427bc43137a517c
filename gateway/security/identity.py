"""Who asks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from gateway.core.errors import Unauthenticated
from gateway.security.grant import Grant

#: bytes of a name that others chose: of a token's subject, of a certificate
LONGEST: Final = 256


@dataclass(frozen=True, slots=True)
class Identity:
    """names     what policies call it, its own name first: "key:ann", "jwt:…", "jwt-group:…", "cert:…", "anonymous"
    grants    what it may do by itself, beside what policies allow
    expires   seconds since the epoch, after which it holds no more
    """

    names: tuple[str, ...]
    grants: tuple[Grant, ...] = ()
    expires: float = math.inf

    @property
    def name(self) -> str:
        return self.names[0]


ANONYMOUS: Final = Identity(("anonymous",))
#: who has the admin token
ADMIN: Final = Identity(("admin",), (Grant("admin"),))


def named(kind: str, text: object) -> str:
    """The name of an identity, fit for logs. Raises Unauthenticated where what others chose is not."""
    if not isinstance(text, str) or not text or not text.isprintable() or len(text.encode(errors="replace")) > LONGEST:
        raise Unauthenticated(f"a name that cannot be used: expected a printable text of up to {LONGEST} bytes")
    return f"{kind}:{text}"
