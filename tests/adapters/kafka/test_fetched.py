"""What is fetched ahead: batches as large as they may be, and partitions that do not wait for each other."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import TopicPartition
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from contract.stands import connected, run
from kafka_sides import until

from adapters.kafka.fetched import Chunk, Fetched
from adapters.kafka.recordset import RecordSet
from gateway.core.stream import Batch, Credit, Token

if TYPE_CHECKING:
    from kafka_sides import Sides
    from servers.kafka import Topics

    from adapters.kafka.input import KafkaInput


@dataclass
class Record:
    offset: int
    value: bytes = b""


class Piece:
    """Two records, unpacked when they are asked for."""

    compression_type = 0

    def __init__(self, number: int) -> None:
        self.base_offset = number * 2

    def __iter__(self) -> Iterator[Record]:
        yield Record(self.base_offset)
        yield Record(self.base_offset + 1)


#: of which a fetch brings a few
VALUE = b"x" * 1000
FETCH = 10_000


async def next_batch(connector: KafkaInput, credit: Credit) -> tuple[Batch, Token]:
    found = await connector.read(credit)
    assert found is not None
    return found


def fetched(connector: KafkaInput) -> Fetched:
    assert connector._member is not None
    assert connector._member.fetched is not None
    return connector._member.fetched


async def checked(connector: KafkaInput, credit: Credit, rows: list[int]) -> Token:
    """With the next fetch there before it is read."""
    await until(lambda: fetched(connector)._fetcher._records)
    batch, token = await next_batch(connector, credit)
    assert [int(name.rpartition("/")[2]) for name in batch.ids] == rows
    return token


def test_a_batch_goes_on_in_what_was_fetched_meanwhile(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create()
    for _ in range(6):
        kafka.write(topic, [VALUE] * 5)

    async def test() -> None:
        async with connected(sides.input(topic, fetch_bytes=FETCH)) as connector:
            tokens = [(await next_batch(connector, Credit(3, 1 << 30)))[1]]
            # the rest of one fetch, and the beginning of the next
            tokens.append(await checked(connector, Credit(6, 1 << 30), [3, 4, 5, 6, 7, 8]))
            assert tokens[-1].position.offset == 9
            # bytes count over both, and the last record may exceed them
            tokens.append(await checked(connector, Credit(100, 2500), [9, 10, 11]))
            for token in tokens:
                await connector.ack(token)

    run(test)
    assert kafka.committed(sides.pipeline, topic) == [12]
    kafka.delete(topic)


def test_a_batch_waits_for_the_fetch_that_it_is_short_of(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create()
    for _ in range(6):
        kafka.write(topic, [VALUE] * 5)

    async def test() -> None:
        async with connected(sides.input(topic, fetch_bytes=FETCH)) as connector:
            first = (await next_batch(connector, Credit(3, 1 << 30)))[1]
            batch, second = await next_batch(connector, Credit(15, 1 << 30))
            assert len(batch) == 15
            # the partition has no more than that
            batch, third = await next_batch(connector, Credit(20, 1 << 30))
            assert len(batch) == 12
            for token in (first, second, third):
                await connector.ack(token)

    run(test)
    kafka.delete(topic)


def test_a_batch_waits_for_no_fetch_when_nothing_is_in_flight(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create()
    for _ in range(4):
        kafka.write(topic, [VALUE] * 5)

    async def test() -> None:
        async with connected(sides.input(topic, fetch_bytes=FETCH)) as connector:
            _, first = await next_batch(connector, Credit(3, 1 << 30))
            # from now on there are no fetches, as of a broker that is slow
            await until(lambda: fetched(connector)._fetcher._records)
            fetched(connector)._fetcher._records.clear()
            fetched(connector)._actions = lambda _: ([], {}, 60, False, [])
            reading = asyncio.create_task(next_batch(connector, Credit(20, 1 << 30)))
            await asyncio.sleep(0.1)
            assert not reading.done()
            await connector.ack(first)
            async with asyncio.timeout(5):
                batch, _ = await reading
            assert 0 < len(batch) < 17

    run(test)
    kafka.delete(topic)


def test_what_comes_to_a_partition_is_fetched_while_records_of_another_wait(kafka: Topics, sides: Sides) -> None:
    topic = kafka.create(2)
    kafka.write(topic, [VALUE] * 100, partition=0, **{"batch.size": 2000})

    async def test() -> None:
        async with connected(sides.input(topic, fetch_bytes=FETCH)) as connector:
            _, token = await next_batch(connector, Credit(3, 1 << 30))
            kafka.write(topic, [b"late"], partition=1)
            # nobody reads
            await until(lambda: any(tp.partition == 1 for tp in fetched(connector)._fetcher._records), 5)
            await connector.ack(token)

    run(test)
    kafka.delete(topic)


def test_a_partition_does_not_wait_for_others_that_have_nothing(kafka: Topics, sides: Sides) -> None:
    topic, records = kafka.create(3), 300
    kafka.write(topic, [VALUE] * records, partition=1, **{"batch.size": 2000})

    async def test() -> None:
        async with connected(sides.input(topic, fetch_bytes=FETCH)) as connector:
            read = 0
            async with asyncio.timeout(20):
                while read < records:
                    batch, token = await next_batch(connector, Credit(7, 1 << 30))
                    # so long a broker may wait, if it is asked for the empty ones alone
                    fetched(connector)._patience = 60_000
                    read += len(batch)
                    await connector.ack(token)
                    # as long as its next fetch needs to be there, and to wait
                    await asyncio.sleep(0.01)

    run(test)
    kafka.delete(topic)


def test_others_have_their_turn_while_there_are_records_that_nobody_takes(kafka: Topics, sides: Sides) -> None:
    """As after the group was shared out anew, and this member has nothing any more."""
    topic = kafka.create()
    for _ in range(3):
        kafka.write(topic, [VALUE] * 5)
    turns: list[bool] = []

    async def test() -> None:
        async with connected(sides.input(topic, fetch_bytes=FETCH)) as connector:
            await next_batch(connector, Credit(3, 1 << 30))
            await until(lambda: fetched(connector)._fetcher._records)
            asyncio.get_running_loop().call_soon(turns.append, True)
            assert await fetched(connector).wait(5)

    run(test)
    assert turns
    kafka.delete(topic)


def test_a_chunk_lets_go_of_what_was_taken_of_it() -> None:
    pieces = [Piece(n) for n in range(3)]
    gone = [weakref.ref(piece) for piece in pieces]
    chunk = Chunk(TopicPartition("t", 0), pieces, 1, 6, 1000)
    del pieces
    found = [chunk.take(1, 1 << 30) for _ in range(4)]
    assert [(records[0].offset, end) for records, end in filter(None, found)] == [(1, 2), (2, 3), (3, 4), (4, 5)]
    gc.collect()
    assert [ref() is None for ref in gone] == [True, True, False]
    assert chunk.take(9, 1 << 30) == ([Record(5)], 6)
    assert chunk.take(9, 1 << 30) is None


@pytest.mark.parametrize("magic", [0, 1])
def test_a_chunk_of_messages_of_before_kafka_0_11(magic: int) -> None:
    builder = LegacyRecordBatchBuilder(magic, 1, 1 << 20)
    for offset in range(4):
        assert builder.append(offset, 1000, None, b"%d" % offset)
    pieces = []
    records = RecordSet(bytes(builder.build()))
    while records.has_next():
        pieces.append(records.next_batch())
    found = Chunk(TopicPartition("t", 0), pieces, 2, 4, 1000).take(9, 1 << 30)
    assert found is not None
    assert [record.value for record in found[0]] == [b"2", b"3"]


def test_a_fetch_is_put_off_for_records_of_the_same_broker_alone() -> None:
    """P0 of broker 1 has records here; P1 of it and P2 of broker 2 are at their end, P3 of broker 1 is not."""
    tps = [TopicPartition("t", number) for number in range(4)]
    brokers = dict(zip(tps, (1, 1, 2, 1), strict=True))
    assignment = SimpleNamespace(
        tps=set(tps), state_value=lambda tp: SimpleNamespace(highwater=10 if tp != tps[3] else 11)
    )
    made: list[Any] = []
    fetcher = SimpleNamespace(
        _records={tps[0]: object()}, _prefetch_backoff=0.1, _fetch_max_wait_ms=500, _wait_consume_future=None,
        _select_read_replica=brokers.get, _get_actions_per_node=lambda _: (list(made), {}, 0.1, False, []),
        _notify=lambda _: None,
    )  # fmt: skip
    found = Fetched(SimpleNamespace(_fetcher=fetcher, _subscription=None, _coordinator=None))

    def asked(*partitions: int) -> Any:
        return SimpleNamespace(topics=[("t", [(number, 10, 1000) for number in partitions])])

    def brokers_asked(*fetches: tuple[int, Any]) -> list[int]:
        made[:] = fetches
        return [node for node, _ in fetcher._get_actions_per_node(assignment)[0]]

    assert brokers_asked((2, asked(2))) == [2]
    assert brokers_asked((1, asked(1)), (2, asked(2))) == [2]
    assert fetcher._fetch_max_wait_ms == 25
    # nobody has taken anything since
    assert brokers_asked((1, asked(1))) == [1]
    found._go_on()
    assert brokers_asked((1, asked(1, 3))) == [1]
    found._go_on()
    fetcher._records.clear()
    assert brokers_asked((1, asked(0, 1)), (2, asked(2))) == [1, 2]
    assert fetcher._fetch_max_wait_ms == 500
