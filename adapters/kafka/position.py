"""Where to go on in a partition: what a token carries, and what a database may store for it."""

from __future__ import annotations

from typing import Any, NamedTuple

from gateway.core.errors import InvalidArgument


class Position(NamedTuple):
    """offset: of the next record. partitions: how many the topic has: an output that has as many keeps the number."""

    group: str
    topic: str
    partition: int
    offset: int
    partitions: int

    def __str__(self) -> str:
        """As dead letters tell it."""
        return f"up to offset {self.offset} of {self.lane}, group {self.group}"

    @property
    def lane(self) -> str:
        return lane_of(self.topic, self.partition)


def lane_of(topic: str, partition: int) -> str:
    return f"{topic}/{partition}"


def partition_of(lane: str) -> tuple[str, int]:
    """The topic and the partition. A topic's name has no slash. Raises InvalidArgument."""
    topic, slash, number = lane.rpartition("/")
    if not slash or not number.isdecimal():
        raise InvalidArgument(f"'{lane}' is not a lane of Kafka: expected topic/partition")
    return topic, int(number)


def offset_of(stored: Any) -> int:
    """Of a position as another system gave it back, JSON say. Raises InvalidArgument."""
    if isinstance(stored, (list, tuple)) and len(stored) == len(Position._fields) and isinstance(stored[3], int):
        return stored[3]
    raise InvalidArgument(f"the stored position {stored!r} is not one of Kafka")
