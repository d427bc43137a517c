"""aiokafka's errors as the pipeline's: what may pass, what another owner causes, what is a record's fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import errors as kafka

from adapters.kafka.quiet import reasons
from gateway.core.errors import SluiceError
from gateway.core.stream import DataError, Fenced, Transient


class NoTopicError(kafka.KafkaError):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, topic: str) -> None:
        super().__init__(f"there is no topic '{topic}', or this user may not see it")


class InvalidRecordError(kafka.BrokerResponseError):  # type: ignore[misc]
    """One that aiokafka 0.14 has no name for: a record without key for a compacted topic, say."""

    errno = 87
    message = "INVALID_RECORD"


kafka.kafka_errors.setdefault(InvalidRecordError.errno, InvalidRecordError)

_FENCED = (
    kafka.ProducerFenced,
    kafka.InvalidProducerEpoch,
    kafka.InvalidProducerIdMapping,
    kafka.InvalidTxnState,
    kafka.CommitFailedError,
    kafka.IllegalGenerationError,
    kafka.UnknownMemberIdError,
    kafka.RebalanceInProgressError,
)
_REFUSED = (
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.TransactionalIdAuthorizationFailed,
    kafka.SaslAuthenticationFailed,
    kafka.AuthenticationFailedError,
)
_TOO_LARGE = (kafka.MessageSizeTooLargeError, kafka.RecordListTooLargeError)
#: a batch with such a record is not taken
BAD = (*_TOO_LARGE, InvalidRecordError, kafka.InvalidTimestampError)
#: what aiokafka raises; IllegalOperation and ConsumerStoppedError are outside of its tree
FAILURES = (kafka.KafkaError, kafka.IllegalOperation, kafka.ConsumerStoppedError, OSError, TimeoutError)


def failure(error: BaseException, what: str) -> SluiceError:
    """`what` was being done: "reading topic 'orders'", say."""
    detail = str(error) or type(error).__name__
    if isinstance(error, SluiceError):
        return error
    if isinstance(error, NoTopicError):
        return Transient(f"{what}: {error.args[0]}")  # aiokafka would put the class in front of it
    if isinstance(error, _FENCED):
        return Fenced(f"{what}: another member has taken over: {detail}")
    if isinstance(error, kafka.UnknownTopicOrPartitionError):
        return Transient(f"{what}: there is no such topic or partition")
    if isinstance(error, _REFUSED):
        return Transient(f"{what}: the brokers do not allow it: {detail}")
    if isinstance(error, _TOO_LARGE):
        return DataError(f"{what}: refused as too large (max.message.bytes)")
    if isinstance(error, InvalidRecordError):
        return DataError(f"{what}: refused as invalid: a compacted topic takes no record without key")
    if isinstance(error, BAD):
        return DataError(f"{what}: refused: {detail}")
    if isinstance(error, TimeoutError):
        return Transient(f"{what}: no answer in time")
    if isinstance(error, kafka.KafkaConnectionError) and (why := reasons(detail)):
        return Transient(f"{what}: {detail}: {why}")
    return Transient(f"{what}: {detail}")


@contextmanager
def translated(what: str) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise failure(error, what) from error
