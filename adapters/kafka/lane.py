"""One partition while it is this member's: what was fetched and handed out of it, and how far it is acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from aiokafka import TopicPartition

from adapters.kafka.fetched import Chunk
from adapters.kafka.position import Position, lane_of
from gateway.core.stream import Batch, Credit, Fenced, Token


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
        self.chunk: Chunk | None = None
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
        self.chunk = None
        self._partitions = partitions
        self._flight.clear()

    def drop(self) -> None:
        """Hands out nothing more; what is in flight may still be acknowledged."""
        self.chunk = None

    def close(self) -> None:
        self.epoch = 0
        self.chunk = None
        self._flight.clear()

    def take(self, credit: Credit, more: Callable[[TopicPartition], Chunk | None]) -> tuple[Batch, Token] | None:
        """`more` gives what was fetched meanwhile, where a chunk ends before the credit does: a batch that is as large
        as it may be costs less than two, and a transaction less than two."""
        if self.chunk is None:
            return None
        parts: list[Batch] = []
        rows, nbytes = credit.rows, credit.nbytes
        while self.chunk is not None:
            chunk, taken = self.chunk, self.chunk.take(rows, nbytes)
            if taken is None:
                self.next = chunk.end
            else:
                batch, self.next = taken
                parts.append(batch)
            if self.next < chunk.end:
                break
            if taken is not None:
                rows -= len(batch)
                nbytes -= sum(map(len, filter(None, batch.values)))
            self.chunk = more(self.tp) if rows > 0 and nbytes > 0 else None
        if not parts:
            self.skip(self.next)
            return None
        self._flight.append((self.next, parts[-1].timestamps[-1]))
        position = Position(self._group, self.tp.topic, self.tp.partition, self.next, self._partitions)
        return Batch.joined(parts), Token(self.name, self.epoch, position)

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
