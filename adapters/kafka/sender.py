"""aiokafka's sender, with the transactions of Kafka 4 where the cluster has them.

Of a transaction's five requests three are left, as partitions and the group need not be announced. It stands on
aiokafka 0.14.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable, Coroutine, Sequence
from types import SimpleNamespace
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka import errors as kafka
from aiokafka.client import CoordinationType
from aiokafka.producer import AIOKafkaProducer, sender
from aiokafka.producer.transaction_manager import PidAndEpoch, TransactionManager

from adapters.kafka.failure import refused
from adapters.kafka.requests import CommitOffsets, End, Features, Identity, Produce

log = logging.getLogger("sluice.streams.kafka")

_FEATURE: Final = "transaction.version"
_PRODUCER_FENCED: Final = 90


class Transactions(TransactionManager):  # type: ignore[misc]  # aiokafka has no types
    """implicit  what is written to is in the transaction by that
    news      what the sender waits for
    """

    implicit = False
    news: Callable[[], asyncio.Future[None]] | None = None

    @property
    def producer(self) -> Identity:
        return self.transactional_id, self.producer_id, self.producer_epoch

    def maybe_add_partition_to_txn(self, tp: TopicPartition) -> None:
        if self.implicit:
            self._txn_partitions.add(tp)
        else:
            super().maybe_add_partition_to_txn(tp)

    def add_offsets_to_txn(self, offsets: Any, group_id: str) -> Any:
        if self.implicit:
            self.consumer_group_added(group_id)
        return super().add_offsets_to_txn(offsets, group_id)

    def notify_task_waiter(self) -> None:
        if self.news is None:
            super().notify_task_waiter()
        elif not (waiter := self.news()).done():
            waiter.set_result(None)

    def goes_on(self, producer_id: int, epoch: int) -> None:
        """As which the next transaction is written: each begins to count anew."""
        self._pid_and_epoch = PidAndEpoch(producer_id, epoch)
        self._sequence_numbers.clear()


class Sender(sender.Sender):  # type: ignore[misc]
    _txn_manager: Transactions

    @staticmethod
    def install(producer: AIOKafkaProducer) -> None:
        """In place of the one that a transactional producer was made with."""
        old = producer._txn_manager
        found = Transactions(old.transactional_id, old.transaction_timeout_ms)
        producer._txn_manager = producer._message_accumulator._txn_manager = found
        producer._sender = Sender(
            producer.client, acks=-1, txn_manager=found, message_accumulator=producer._message_accumulator,
            retry_backoff_ms=round(producer._sender._retry_backoff * 1000),
            request_timeout_ms=producer._request_timeout_ms,
        )  # fmt: skip

    async def start(self) -> None:
        self._txn_manager.implicit = await self._level() >= 2
        await super().start()

    async def _level(self) -> int:
        """Of the cluster's transactions: 2 from Kafka 4.0 on, if nobody has held it back."""
        try:
            answer = await self.client.send(self.client.get_random_node(), Features())
        except (NotImplementedError, kafka.IncompatibleBrokerVersion):
            return 0
        levels = answer.tags.get(Features.FINALIZED)
        if answer.error_code or levels is None:
            return 0
        return next((row[1] for row in Features.LEVELS.decode(io.BytesIO(levels)) if row[0] == _FEATURE), 0)

    async def _sender_routine(self) -> None:
        """aiokafka's watches over requests that may overlap, each a task: half a millisecond of CPU a transaction. Here
        nothing overlaps but what goes to several brokers."""
        if not self._txn_manager.implicit:
            await super()._sender_routine()
            return
        self._txn_manager.news = self._message_accumulator.waiter
        try:
            while True:
                await self._step()
        except asyncio.CancelledError:
            return  # by `close`, which awaits it
        except (kafka.ProducerFenced, kafka.OutOfOrderSequenceNumber, kafka.TransactionalIdAuthorizationFailed):
            raise
        except Exception as error:
            log.exception("the sender of a transaction has failed")
            raise kafka.KafkaError(f"the sender of a transaction has failed: {error!r}") from error

    async def _step(self) -> None:
        await self._maybe_wait_for_pid()
        batches, leaderless = self._message_accumulator.drain_by_nodes(ignore_nodes=())
        if batches:
            await _all([_Produce(self, found).do(node) for node, found in batches.items()])
        elif leaderless:
            await self.client.force_metadata_update()
        elif (request := self._request()) is not None:
            await request
        else:
            await self._message_accumulator.waiter()

    def _request(self) -> Coroutine[Any, Any, None] | None:
        """What is due when all is written that there is."""
        if (due := self._txn_manager.offsets_to_commit()) is not None:
            return self._do_txn_offset_commit(*due)
        if (result := self._txn_manager.needs_transaction_commit()) is not None:
            return self._do_txn_commit(result)
        return None

    async def _do_txn_offset_commit(self, offsets: Any, group_id: str) -> None:
        if not self._txn_manager.implicit:
            await super()._do_txn_offset_commit(offsets, group_id)
            return
        try:
            node_id = await self._find_coordinator(CoordinationType.GROUP, group_id)
        except kafka.GroupAuthorizationFailedError as error:
            self._txn_manager.error_transaction(error)
            return
        await _Offsets(self, offsets, group_id).do(node_id)

    async def _do_txn_commit(self, commit_result: int) -> None:
        if not self._txn_manager.implicit or self._txn_manager.is_empty_transaction():
            await super()._do_txn_commit(commit_result)
            return
        await self._message_accumulator.flush_for_commit()
        node_id = await self._find_coordinator(CoordinationType.TRANSACTION, self._txn_manager.transactional_id)
        await _End(self, commit_result).do(node_id)


async def _all(requests: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Most often one. Raises what the first raised that did, when all are at their end."""
    if len(requests) == 1:
        await requests[0]
        return
    for outcome in await asyncio.gather(*requests, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


class _Produce(sender.SendProduceReqHandler):  # type: ignore[misc]
    async def do(self, node_id: int) -> None:
        """Before anything else is numbered, what the broker refused is taken back: see Producer."""
        await super().do(node_id)
        for tp, batch in self._batches.items():
            if refused(batch.future):
                self._sender._txn_manager.increment_sequence_number(tp, -batch.record_count)

    def create_request(self) -> Produce:
        records = {tp: batch.get_data_buffer() for tp, batch in self._batches.items()}
        return Produce(self._sender._txn_manager.transactional_id, self._sender._request_timeout_ms, records)

    def handle_response(self, response: Any) -> None:
        """As of version 8, whose fields are the same but for the tags."""
        topics = [(topic, [found[:7] for found in partitions]) for topic, partitions, _ in response.topics]
        super().handle_response(SimpleNamespace(API_VERSION=8, topics=topics))

    def _can_retry(self, error: Exception, batch: Any) -> bool:
        return isinstance(error, kafka.ConcurrentTransactions) or bool(super()._can_retry(error, batch))


class _Offsets(sender.TxnOffsetCommitHandler):  # type: ignore[misc]
    def create_request(self) -> CommitOffsets:
        return CommitOffsets(self._sender._txn_manager.producer, self._group_id, self._offsets)

    def handle_response(self, resp: Any) -> float | None:
        errors = [(topic, [found[:2] for found in partitions]) for topic, partitions, _ in resp.topics]
        codes = {code for _, partitions in errors for _, code in partitions}
        if kafka.ConcurrentTransactions.errno in codes:
            backoff: float = self._default_backoff
            return backoff
        if _PRODUCER_FENCED in codes:
            raise kafka.ProducerFenced
        found: float | None = super().handle_response(SimpleNamespace(errors=errors))
        return found


class _End(sender.EndTxnHandler):  # type: ignore[misc]
    def create_request(self) -> End:
        return End(self._sender._txn_manager.producer, commit=bool(self._commit_result))

    def handle_response(self, resp: Any) -> float | None:
        if resp.error_code == _PRODUCER_FENCED:
            raise kafka.ProducerFenced
        backoff: float | None = super().handle_response(resp)
        if not resp.error_code:
            self._sender._txn_manager.goes_on(resp.producer_id, resp.producer_epoch)
        return backoff
