"""Transactions as the cluster has them: announced, or begun by their first write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.client import AIOKafkaClient
from contract.stands import connected, run
from kafka_sides import Sides
from servers.kafka import Kafka

from adapters.kafka import sender
from adapters.kafka.position import Position
from gateway.core.stream import Batch, DataError, Fenced, Rows, Token, Transient

if TYPE_CHECKING:
    from servers.kafka import Topics

#: by the version of the cluster's transactions
REQUESTS = {
    1: ["AddOffsetsToTxnRequest", "AddPartitionsToTxnRequest", "EndTxnRequest", "ProduceRequest",
        "TxnOffsetCommitRequest"],
    2: ["CommitOffsets", "End", "Produce"],
}  # fmt: skip


@pytest.fixture(params=[1, 2])
def version(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def cluster(version: int, request: pytest.FixtureRequest) -> Iterator[Topics]:
    if version == 2:
        yield request.getfixturevalue("kafka")
        return
    with ExitStack() as stack:
        yield stack.enter_context(Kafka(transactions=version))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the requests that are sent."""
    names: list[str] = []
    send = AIOKafkaClient.send

    async def noted(self: Any, node: int, request: Any, **options: Any) -> Any:
        names.append(type(request).__name__)
        return await send(self, node, request, **options)

    monkeypatch.setattr(AIOKafkaClient, "send", noted)
    return names


def test_a_transaction_takes_no_more_requests_than_the_cluster_needs(
    cluster: Topics, version: int, sent: list[str]
) -> None:
    source, target = cluster.create(), cluster.create(max_message_bytes="2000")
    sides = Sides(cluster.address)
    lane = f"{source}/0"

    def rows(epoch: int, offset: int, value: bytes) -> Rows:
        return Rows(Batch([str(offset)], [value]), Token(lane, epoch, Position(sides.pipeline, source, 0, offset, 1)))

    async def test() -> None:
        async with connected(sides.output(target, transactions=True)) as output:
            epoch, _ = await output.take_over(lane)
            await output.write(rows(epoch, 1, b"first"))
            sent.clear()
            await output.write(rows(epoch, 2, b"second"))
            assert sorted(set(sent)) == REQUESTS[version]
            with pytest.raises(DataError):
                await output.write(rows(epoch, 3, b"x" * 3000))
            await output.write(rows(epoch, 3, b"third"))
            epoch, _ = await output.take_over(lane)
            await output.write(rows(epoch, 4, b"fourth"))

    run(test)
    assert [value for _, value, _ in cluster.read(target)] == [b"first", b"second", b"third", b"fourth"]
    assert cluster.committed(sides.pipeline, source) == [4]


def test_what_comes_behind_a_batch_that_was_refused(cluster: Topics) -> None:
    """Two records go out together and are refused for their size; the third keeps its place behind them."""
    source, target = cluster.create(), cluster.create(max_message_bytes="2000")
    sides = Sides(cluster.address)
    lane = f"{source}/0"

    async def test() -> None:
        async with connected(sides.output(target, transactions=True, batch_bytes=4000)) as output:
            epoch, _ = await output.take_over(lane)
            for offset in (3, 6):
                batch = Batch([f"{offset}{n}" for n in "abc"], [b"%d%c" % (offset, n) * 750 for n in b"abc"])
                position = Position(sides.pipeline, source, 0, offset, 1)
                await output.write(Rows(batch, Token(lane, epoch, position)))

    run(test)
    assert [value[:2] for _, value, _ in cluster.read(target) if value] == [b"3a", b"3b", b"3c", b"6a", b"6b", b"6c"]
    assert cluster.committed(sides.pipeline, source) == [6]
    cluster.delete(source, target)


def test_a_sender_that_breaks_down_ends_its_transaction_only(kafka: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = kafka.create(), kafka.create()
    sides = Sides(kafka.address)
    lane = f"{source}/0"

    def rows(epoch: int, value: bytes) -> Rows:
        return Rows(Batch(["1"], [value]), Token(lane, epoch, Position(sides.pipeline, source, 0, 1, 1)))

    def broken(*_: Any) -> Any:
        raise ValueError("as if by a mistake of ours")

    async def test() -> None:
        async with connected(sides.output(target, transactions=True)) as output:
            epoch, _ = await output.take_over(lane)
            with monkeypatch.context() as patch:
                patch.setattr(sender, "Produce", broken)
                with pytest.raises(Transient):
                    await output.write(rows(epoch, b"lost"))
            with pytest.raises(Fenced):
                await output.write(rows(epoch, b"late"))
            epoch, _ = await output.take_over(lane)
            await output.write(rows(epoch, b"good"))

    run(test)
    assert [value for _, value, _ in kafka.read(target)] == [b"good"]
    kafka.delete(source, target)
