"""What a caller presents: one token, as ``Authorization: Bearer …`` or ``x-api-key: …``, in headers or in metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from gateway.core.errors import Unauthenticated

FIELDS: Final = frozenset({b"authorization", b"x-api-key"})
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
#: bytes of a token; those of providers with many groups have some thousands
LONGEST: Final = 16 << 10


def presented(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The token in raw headers (names in lower case); b"" where none is presented.

    Raises Unauthenticated for what is there but cannot be read: two of them (which one counts would be for the next
    proxy to say), another scheme, an empty one.
    """
    found = [field for field in headers if field[0] in FIELDS]
    if not found:
        return b""
    if len(found) > 1:
        raise Unauthenticated("more than one credential: expected one 'Authorization' or one 'x-api-key'")
    name, value = found[0]
    if name == b"authorization":
        scheme, _, value = value.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthenticated("expected 'Authorization: Bearer <token>', found another scheme")
    token = value.strip()
    if not token or len(token) > LONGEST or _CONTROL.search(token):
        raise Unauthenticated(f"expected a token of 1 to {LONGEST} bytes without control characters")
    return token
