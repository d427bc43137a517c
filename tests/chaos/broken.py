"""Workers with a mistake in them, which the oracle must find: `python -m chaos.broken MISTAKE FOLDER streams run …`.

Where it does not, the harness proves nothing about the workers that are right. A mistake that shows only at one moment
has a gate there, in FOLDER, so that it need not be hit by chance.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aiokafka import TopicPartition
from chaos.gate import Gate

from adapters.kafka.input import KafkaInput
from adapters.kafka.membership import Membership
from adapters.kafka.output import KafkaOutput
from adapters.kafka.transaction import Transaction
from adapters.sql.positions import Positions
from gateway.cli import run
from gateway.core.stream import Batch, Credit, Token
from gateway.pipeline.delivery import Delivery

#: gates: before a write is committed, and between the two steps of a take-over
WRITING: Final = "writing"
TAKING_OVER: Final = "taking-over"


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

    _may_be_held_before_it_commits()

    def own(self: Any, transactional_id: str) -> Any:
        return producer(self, f"{transactional_id}-{os.getpid()}")

    KafkaOutput._producer = own  # type: ignore[method-assign]


def reads_the_offset_before_it_fences() -> None:
    """A transaction of the old owner's, committed in between, is not seen."""
    take_over, offsets, revoked = Membership._take_over, Membership._offsets, Membership.on_partitions_revoked
    gate = Gate(_folder(), TAKING_OVER)

    _may_be_held_before_it_commits()

    async def late(self: Any, lanes: Any) -> Any:
        self.early = await offsets(self, lanes, [None for _ in lanes])
        async with gate.through():
            return await take_over(self, lanes)

    async def early(self: Any, lanes: Any, stored: Any) -> Any:
        return self.early

    async def slowly(self: Any, partitions: Any) -> None:
        """No mistake by itself: the old owner comes back to the group only when the new one is at work."""
        await asyncio.sleep(8)
        await revoked(self, partitions)

    Membership._take_over = late  # type: ignore[method-assign]
    Membership._offsets = early  # type: ignore[method-assign]
    Membership.on_partitions_revoked = slowly  # type: ignore[method-assign]


def _may_be_held_before_it_commits() -> None:
    """No mistake by itself: in the middle of a transaction."""
    commit = Transaction._commit
    gate = Gate(_folder(), WRITING)

    async def held(self: Any, what: str) -> None:
        async with gate.through():
            await commit(self, what)

    Transaction._commit = held  # type: ignore[method-assign]


def leaves_the_epoch_out() -> None:
    """Positions are stored by whoever comes, also by an owner that is over."""
    gate = Gate(_folder(), WRITING)

    async def store(self: Any, connection: Any, token: Token) -> None:
        if token.lane in self._lanes:
            token = Token(token.lane, await _newest(self, connection, token.lane), token.position)
            await right(self, connection, token)

    async def held(self: Any, *given: Any) -> None:
        async with gate.through():
            await attempt(self, *given)

    right, attempt = Positions.store, Delivery._attempt
    Positions.store = store  # type: ignore[method-assign]
    Delivery._attempt = held  # type: ignore[method-assign]


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


def _folder() -> Path:
    return Path(sys.argv[2])


if __name__ == "__main__":
    MISTAKES[sys.argv[1]]()
    sys.exit(run(sys.argv[3:]))
