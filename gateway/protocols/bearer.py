"""The token that a caller presents as ``Authorization: Bearer …``."""

from __future__ import annotations

import hmac
from collections.abc import Iterable


def presented(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The token of a request's raw headers (names in lower case); empty where there is none, or more than one."""
    values = [value for name, value in headers if name == b"authorization"]
    if len(values) != 1:
        return b""
    scheme, _, token = values[0].partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def same(token: bytes, expected: bytes) -> bool:
    """In a time that tells nothing of `expected`. An empty one is matched by nothing."""
    return bool(expected) and hmac.compare_digest(token, expected)
