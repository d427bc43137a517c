"""aiokafka's sender, with the transactions of Kafka 4 where the cluster has them.

Of a transaction's five requests three are left, as partitions and the group need not be announced. It stands on
aiokafka 0.14.
"""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka import errors as kafka
from aiokafka.client import CoordinationType
from aiokafka.producer import AIOKafkaProducer, sender
from aiokafka.producer.transaction_manager import PidAndEpoch, TransactionManager

from adapters.kafka.requests import CommitOffsets, End, Features, Identity, Produce

_FEATURE: Final = "transaction.version"
_PRODUCER_FENCED: Final = 90


class Transactions(TransactionManager):  # type: ignore[misc]  # aiokafka has no types
    """implicit  what is written to is in the transaction by that"""

    implicit = False

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

    async def _send_produce_req(self, node_id: int, batches: Any) -> None:
        if not self._txn_manager.implicit:
            await super()._send_produce_req(node_id, batches)
            return
        await _Produce(self, batches).do(node_id)
        self._in_flight.remove(node_id)
        self._muted_partitions.difference_update(batches)

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


class _Produce(sender.SendProduceReqHandler):  # type: ignore[misc]
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
