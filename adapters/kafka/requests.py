"""The requests of a transaction as Kafka 4 takes them (KIP-890, "transactions version 2"), which aiokafka 0.14 has not:
a partition or a group belongs to a transaction from its first write on, and each end of one gives the next its epoch.

Format: the message definitions of Kafka, clients/src/main/resources/common/message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)
from aiokafka.structs import OffsetAndMetadata

#: of a request whose response says nothing else that is asked for here
_TAGS: Final = ("tags", TaggedFields)
_TEXT: Final = CompactString("utf-8")


def _topics(*fields: tuple[str, Any]) -> tuple[str, CompactArray]:
    """What is said of each partition, by topic."""
    partitions = CompactArray(*fields, _TAGS)
    return "topics", CompactArray(("topic", _TEXT), ("partitions", partitions), _TAGS)


#: of a transactional producer's state
Identity = tuple[str, int, int]


class ProduceResponse12(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 0
    API_VERSION = 12
    SCHEMA = Schema(
        _topics(
            ("partition", Int32),
            ("error_code", Int16),
            ("offset", Int64),
            ("timestamp", Int64),
            ("log_start_offset", Int64),
            ("record_errors", CompactArray(("batch_index", Int32), ("message", _TEXT), _TAGS)),
            ("error_message", _TEXT),
        ),
        ("throttle_time_ms", Int32),
        _TAGS,
    )


class ProduceRequest12(RequestStruct):  # type: ignore[misc]
    API_KEY = 0
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ProduceResponse12
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("required_acks", Int16),
        ("timeout", Int32),
        _topics(("partition", Int32), ("records", CompactBytes)),
        _TAGS,
    )


class Produce(Request[ProduceRequest12]):  # type: ignore[misc]
    """records: of each partition, one batch. timeout: ms, for all replicas."""

    API_KEY = 0
    required_acks = -1

    def __init__(
        self, transactional_id: str, timeout: int, records: Mapping[TopicPartition, bytes | bytearray]
    ) -> None:
        self._head: Final = (transactional_id, self.required_acks, timeout)
        self._records: Final = records

    def build(self, request_struct_class: type[ProduceRequest12]) -> ProduceRequest12:
        topics = _by_topic({tp: (tp.partition, records, {}) for tp, records in self._records.items()})
        return request_struct_class(*self._head, topics, {})


class OffsetsResponse5(Response):  # type: ignore[misc]
    API_KEY = 28
    API_VERSION = 5
    SCHEMA = Schema(("throttle_time_ms", Int32), _topics(("partition", Int32), ("error_code", Int16)), _TAGS)


class OffsetsRequest5(RequestStruct):  # type: ignore[misc]
    API_KEY = 28
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetsResponse5
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("group_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", _TEXT),
        ("group_instance_id", _TEXT),
        _topics(("partition", Int32), ("offset", Int64), ("leader_epoch", Int32), ("metadata", _TEXT)),
        _TAGS,
    )


class CommitOffsets(Request[OffsetsRequest5]):  # type: ignore[misc]
    """Without the member and its generation: what fences is the producer."""

    API_KEY = 28

    def __init__(self, producer: Identity, group: str, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        self._producer: Final = producer
        self._group: Final = group
        self._offsets: Final = offsets

    def build(self, request_struct_class: type[OffsetsRequest5]) -> OffsetsRequest5:
        name, number, epoch = self._producer
        topics = _by_topic(
            {tp: (tp.partition, found.offset, -1, found.metadata, {}) for tp, found in self._offsets.items()}
        )
        return request_struct_class(name, self._group, number, epoch, -1, "", None, topics, {})


class EndResponse5(Response):  # type: ignore[misc]
    """The producer's number and epoch are those of its next transaction."""

    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        _TAGS,
    )


class EndRequest5(RequestStruct):  # type: ignore[misc]
    API_KEY = 26
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = EndResponse5
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("committed", Boolean),
        _TAGS,
    )


class End(Request[EndRequest5]):  # type: ignore[misc]
    API_KEY = 26

    def __init__(self, producer: Identity, *, commit: bool) -> None:
        self._fields: Final[tuple[Any, ...]] = (*producer, commit, {})

    def build(self, request_struct_class: type[EndRequest5]) -> EndRequest5:
        return request_struct_class(*self._fields)


class FeaturesResponse3(Response):  # type: ignore[misc]
    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        ("api_versions", CompactArray(("api_key", Int16), ("min_version", Int16), ("max_version", Int16), _TAGS)),
        ("throttle_time_ms", Int32),
        _TAGS,
    )


class FeaturesRequest3(RequestStruct):  # type: ignore[misc]
    API_KEY = 18
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = FeaturesResponse3
    SCHEMA = Schema(("client_software_name", _TEXT), ("client_software_version", _TEXT), _TAGS)

    def parse_response_header(self, read_buffer: Any) -> ResponseHeader_v0:
        """Without tags: who asks for versions may not know of them."""
        return ResponseHeader_v0.decode(read_buffer)


class Features(Request[FeaturesRequest3]):  # type: ignore[misc]
    """What the cluster has agreed on: tag 2 of the response has name → level."""

    API_KEY = 18
    FINALIZED: Final = 2
    #: name, highest and lowest level
    LEVELS: Final = CompactArray(("name", _TEXT), ("max", Int16), ("min", Int16), _TAGS)

    def build(self, request_struct_class: type[FeaturesRequest3]) -> FeaturesRequest3:
        return request_struct_class("sluice", "1", {})


def _by_topic(rows: Mapping[TopicPartition, Any]) -> Sequence[tuple[str, list[Any], dict[int, bytes]]]:
    topics: dict[str, list[Any]] = {}
    for tp, row in rows.items():
        topics.setdefault(tp.topic, []).append(row)
    return [(topic, found, {}) for topic, found in topics.items()]
