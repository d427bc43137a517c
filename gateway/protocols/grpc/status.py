"""The one table from the error tree's codes to gRPC's status codes.

https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
"""

from __future__ import annotations

import math
from typing import Final

from gateway.core.errors import SluiceError

INTERNAL: Final = 13
STATUS: Final[dict[str, int]] = {
    "CANCELLED": 1,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "TOO_LARGE": 8,
    "CONFLICT": 10,
    "UNSUPPORTED": 12,
    "INTERNAL": INTERNAL,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}

#: characters of a message that travel: it is a header, and clients take 8 KiB of those
MOST: Final = 1024


def status_of(error: SluiceError) -> int:
    return STATUS.get(error.code, INTERNAL)


def details_of(error: SluiceError) -> str:
    message = error.message
    return message if len(message) <= MOST else message[: MOST - 1] + "…"


def trailers_of(error: SluiceError) -> tuple[tuple[str, str], ...]:
    """When to try again, as gRPC's own retries read it."""
    if error.retry_after is None:
        return ()
    return (("grpc-retry-pushback-ms", str(math.ceil(error.retry_after * 1000))),)
