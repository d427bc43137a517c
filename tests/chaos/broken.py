"""Workers with a mistake in them, which the oracle must find: `python -m chaos.broken MISTAKE streams run …`.

Where it does not, the harness proves nothing about the workers that are right.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from aiokafka import TopicPartition

from adapters.kafka.input import KafkaInput
from adapters.kafka.membership import Membership
from adapters.kafka.output import KafkaOutput
from adapters.kafka.transaction import Transaction
from adapters.sql.positions import Positions
from gateway.cli import run
from gateway.core.stream import Batch, Credit, Token
from gateway.pipeline.delivery import Delivery


def acknowledges_before_it_writes() -> None:
    """What was read is committed at once: a crash loses what was not written yet."""
    read = KafkaInput.read

    async def hasty(self: Any, credit: Credit) -> tuple[Batch, Token] | None:
        found = await read(self, credit)
        if found is not None:
            position = found[1].position
            tp = TopicPartition(position.topic, position.partition)
            await self._member.consumer.commit({tp: position.offset})
        return found

    KafkaInput.read = hasty  # type: ignore[method-assign]


def commits_past_a_failed_row() -> None:
    """Dead letters go nowhere, and the position past them."""

    async def forget(*_: object) -> None:
        return

    Delivery._bury = forget  # type: ignore[method-assign]


def does_not_fence_by_partition() -> None:
    """Each process has transactional ids of its own, so that a new owner does not end the old one's transaction."""
    producer = KafkaOutput._producer

    _commits_slowly()

    def own(self: Any, transactional_id: str) -> Any:
        return producer(self, f"{transactional_id}-{os.getpid()}")

    KafkaOutput._producer = own  # type: ignore[method-assign]


def reads_the_offset_before_it_fences() -> None:
    """A transaction of the old owner's, committed in between, is not seen."""
    _commits_slowly()
    take_over, offsets = Membership._take_over, Membership._offsets

    async def late(self: Any, lanes: Any) -> Any:
        self.early = await offsets(self, lanes, [None for _ in lanes])
        await asyncio.sleep(2.5)
        return await take_over(self, lanes)

    async def early(self: Any, lanes: Any, stored: Any) -> Any:
        return self.early

    Membership._take_over = late  # type: ignore[method-assign]
    Membership._offsets = early  # type: ignore[method-assign]


def _commits_slowly() -> None:
    """So that a worker that is stopped is in the middle of a transaction. No mistake by itself."""
    commit = Transaction._commit

    async def slow(self: Any, what: str) -> None:
        await asyncio.sleep(0.3)
        await commit(self, what)

    Transaction._commit = slow  # type: ignore[method-assign]


def leaves_the_epoch_out() -> None:
    """Positions are stored by whoever comes, also by an owner that is over."""

    async def store(self: Any, connection: Any, token: Token) -> None:
        if token.lane in self._lanes:
            token = Token(token.lane, await _newest(self, connection, token.lane), token.position)
            await right(self, connection, token)

    right = Positions.store
    Positions.store = store  # type: ignore[method-assign]


async def _newest(positions: Any, connection: Any, lane: str) -> int:
    mark = positions._dialect.mark
    rows = await connection.fetch(
        f"SELECT epoch FROM {positions._table} WHERE pipeline = {mark(1)} AND lane = {mark(2)}",
        (positions._pipeline, lane),
    )
    epoch: int = rows[0][0]
    return epoch


MISTAKES: Final[dict[str, Callable[[], None]]] = {
    mistake.__name__.replace("_", "-"): mistake
    for mistake in (
        acknowledges_before_it_writes,
        commits_past_a_failed_row,
        does_not_fence_by_partition,
        reads_the_offset_before_it_fences,
        leaves_the_epoch_out,
    )
}

if __name__ == "__main__":
    MISTAKES[sys.argv[1]]()
    sys.exit(run(sys.argv[2:]))
