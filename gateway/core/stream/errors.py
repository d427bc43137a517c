"""What a connector says happened, by one of these; what is done about it is the runner's.

SluiceError
├── Transient            it may work later: connection, time-out, serialisation failure, disk full  (retriable)
│   ├── Fenced           another owner has taken over: drop what is in memory, read the position again
│   └── OutcomeUnknown   a commit was sent and its answer lost: never repeat the write, fence and read the position
└── DataError            the record is at fault: sending it again cannot help; it becomes a dead letter
"""

from __future__ import annotations

from gateway.core.errors import Internal, InvalidArgument, SluiceError, TooLarge


class Transient(SluiceError):
    code = "UNAVAILABLE"
    retriable = True


class Fenced(Transient):
    """Raised by `ack` and `write` for a token of an epoch that is over."""


class OutcomeUnknown(Transient):
    """The write may or may not have happened: whether it did is known only from the stored position."""


class DataError(InvalidArgument):
    """`record` is the index in its batch, -1 where the batch as a whole was refused (the runner then bisects it)."""

    def __init__(self, message: str, record: int = -1) -> None:
        super().__init__(message)
        self.record = record


def at_fault(error: SluiceError) -> bool:
    """Whether a record that failed so, alone, is to become a dead letter; else the pipeline waits and tries again.

    Internal is what the model says of values that it cannot compute. That a model, a version or a server is not there,
    or was too slow, is never the record's fault.
    """
    return isinstance(error, (InvalidArgument, TooLarge, Internal))
