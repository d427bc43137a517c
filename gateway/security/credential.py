"""What a caller presents: one token, as ``Authorization: Bearer …`` or ``x-api-key: …``, in headers or in metadata."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.core.errors import Unauthenticated

FIELDS: Final = frozenset({b"authorization", b"x-api-key"})
#: bytes of a token; those of providers with many groups have some thousands
LONGEST: Final = 16 << 10


def presented(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The token in raw headers (names in lower case); b"" where none is presented.

    Raises Unauthenticated for what is there but cannot be read: two of them (which one counts would be for the next
    proxy to say), another scheme, an empty one.
    """
    found = value = None
    for field in headers:
        if field[0] in FIELDS:
            if found is not None:
                raise Unauthenticated("more than one credential: expected one 'Authorization' or one 'x-api-key'")
            found, value = field
    if found is None or value is None:
        return b""
    if found == b"authorization":
        scheme, _, value = value.partition(b" ")
        if scheme != b"Bearer" and scheme.lower() != b"bearer":
            raise Unauthenticated("expected 'Authorization: Bearer <token>', found another scheme")
    token = value.strip()
    if not 0 < len(token) <= LONGEST:
        raise Unauthenticated(f"expected a token of 1 to {LONGEST} bytes")
    return token
