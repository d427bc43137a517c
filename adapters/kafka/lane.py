"""One partition while it is this member's: what was fetched and handed out of it, and how far it is acknowledged."""

from __future__ import annotations

from collections import deque
from operator import attrgetter
from typing import Any, Final

from aiokafka import TopicPartition

from adapters.kafka.fetched import Chunk, Fetched, batch_of
from adapters.kafka.position import Position, lane_of
from gateway.core.stream import Batch, Credit, Fenced, Token

_value = attrgetter("value")
#: fetches that one batch may be made of
_CHUNKS: Final = 4


class Lane:
    """Belongs to the event loop. Closed until `open`; a token of an earlier epoch, or of a lane that was closed since,
    is refused.

    epoch   of this ownership; 0 while closed
    next    offset of the first record that was not handed out
    acked   offset up to which all is done with
    end     of the partition, when it was opened
    refused the broker has not the offset that it was asked for
    since   ms since the epoch, when the last record that is done with was written; 0: not known
    """

    def __init__(self, tp: TopicPartition, group: str) -> None:
        self.tp = tp
        self.name = lane_of(tp.topic, tp.partition)
        self.epoch = 0
        self.next = self.acked = self.end = 0
        self.since = 0
        self.refused = False
        #: what was fetched and not handed out
        self.chunks: Final[deque[Chunk]] = deque()
        self._group = group
        self._partitions = 0
        #: the end and the last timestamp of each batch in flight, in order
        self._flight: deque[tuple[int, int]] = deque()

    @property
    def busy(self) -> bool:
        return bool(self._flight)

    def open(self, epoch: int, offset: int, end: int, partitions: int) -> None:
        self.epoch = epoch
        self.end = end
        self.refused = False
        self.next = self.acked = offset
        self.chunks.clear()
        self._partitions = partitions
        self._flight.clear()

    def drop(self) -> None:
        """Hands out nothing more; what is in flight may still be acknowledged."""
        self.chunks.clear()

    def close(self) -> None:
        self.epoch = 0
        self.chunks.clear()
        self._flight.clear()

    def take(self, credit: Credit, fetched: Fetched) -> tuple[Batch, Token] | None:
        """What is there, as far as the credit goes. A batch that is as large as it may be costs less than two, and a
        transaction less than two: while one is in flight, the next waits for the fetch that it is short of."""
        while self.chunks and self._short(credit) and (more := fetched.more(self.tp)):
            self.chunks.append(more)
        if not self.chunks or (self.busy and self._short(credit) and fetched.behind(self.tp, self.chunks[-1].end)):
            return None
        records: list[Any] = []
        rows, nbytes = credit.rows, credit.nbytes
        while self.chunks and rows > 0 and nbytes > 0:
            chunk, taken = self.chunks[0], self.chunks[0].take(rows, nbytes)
            self.next = chunk.end
            if taken is not None:
                part, self.next = taken
                records = records + part if records else part
                rows -= len(part)
                nbytes -= sum(map(len, filter(None, map(_value, part))))
            if self.next == chunk.end:
                self.chunks.popleft()
        if not records:
            self.skip(self.next)
            return None
        self._flight.append((self.next, records[-1].timestamp))
        position = Position(self._group, self.tp.topic, self.tp.partition, self.next, self._partitions)
        return batch_of(self.tp, records), Token(self.name, self.epoch, position)

    def _short(self, credit: Credit) -> bool:
        """Whether more fits in."""
        return (
            len(self.chunks) < _CHUNKS
            and self.chunks[-1].end - self.next < credit.rows
            and sum(chunk.left(max(self.next, chunk.start)) for chunk in self.chunks) < credit.nbytes
        )

    def skip(self, offset: int) -> None:
        """There is nothing to hand out before `offset`."""
        self.next = offset
        if not self._flight:
            self.acked = offset

    def ack(self, token: Token) -> None:
        """Raises Fenced."""
        self.check(token)
        offset = token.position.offset
        while self._flight and self._flight[0][0] <= offset:
            self.acked, self.since = self._flight.popleft()
        if not self._flight:
            self.acked = self.next

    def check(self, token: Token) -> None:
        """Raises Fenced."""
        if token.epoch != self.epoch or not self.epoch:
            raise Fenced(f"partition {self.name} was taken over since epoch {token.epoch}")
