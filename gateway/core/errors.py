"""The error tree. Every error that leaves a room is one of these.

SluiceError
├── InvalidArgument      the request is wrong; sending it again cannot help
├── NotFound             no such model, version, label, region
├── Conflict             the revision that the change was based on is no longer the newest
├── Unauthenticated      no credentials, or wrong ones
├── PermissionDenied     the credentials are right, the action is not allowed
├── Unsupported          the protocol has it, this server or this model does not
├── ResourceExhausted    over a limit: of a body, of a client's quota
├── TooLarge             a body over its limit; the same body will not pass later
├── Unavailable          not now: queue full, version loading, shutting down        (retriable)
├── DeadlineExceeded     ran into a limit of time while it was running              (retriable)
├── Cancelled            the caller went away
└── Internal             ours, or the model's: it failed while it ran

`code` is neutral; each protocol keeps one table from codes to its own statuses.
"""

from __future__ import annotations

from typing import ClassVar


class SluiceError(Exception):
    """Base of all. `message` is for the caller; the cause, if any, is in `__cause__` and for the log only."""

    code: ClassVar[str] = "INTERNAL"
    retriable: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        #: seconds after which a further try makes sense, where that is known
        self.retry_after = retry_after


class InvalidArgument(SluiceError):
    code = "INVALID_ARGUMENT"


class NotFound(SluiceError):
    code = "NOT_FOUND"


class Conflict(SluiceError):
    code = "CONFLICT"
    retriable = True


class Unauthenticated(SluiceError):
    code = "UNAUTHENTICATED"


class PermissionDenied(SluiceError):
    code = "PERMISSION_DENIED"


class Unsupported(SluiceError):
    code = "UNSUPPORTED"


class ResourceExhausted(SluiceError):
    code = "RESOURCE_EXHAUSTED"
    retriable = True


class TooLarge(SluiceError):
    code = "TOO_LARGE"


class Unavailable(SluiceError):
    code = "UNAVAILABLE"
    retriable = True


class DeadlineExceeded(SluiceError):
    code = "DEADLINE_EXCEEDED"
    retriable = True


class Cancelled(SluiceError):
    code = "CANCELLED"


class Internal(SluiceError):
    code = "INTERNAL"
