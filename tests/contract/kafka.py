"""The stands of the Kafka adapter, on a real broker."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING

import pytest
from contract.stands import InputStand, InputStands, OutputStand, OutputStands, values
from kafka_sides import until

from adapters.kafka.input import KafkaInput
from adapters.kafka.output import KafkaOutput
from adapters.kafka.position import Position
from adapters.kafka.settings import KafkaSink, KafkaSource
from gateway.core import letter
from gateway.core.stream import Context, Input, Output, PositionStore, Token

if TYPE_CHECKING:
    from servers.kafka import Topics


_LAST = 99


class Settled(KafkaInput):
    """Has its partition when it is connected, so that a second one takes it from the first and not the other way."""

    async def connect(self) -> None:
        await super().connect()
        assert self._member is not None
        await until(self._member.lanes.values)


class KafkaInputStand:
    def __init__(self, topics: Topics, topic: str) -> None:
        self._topics = topics
        self._topic = topic
        self._pipeline = f"kit-{token_hex(4)}"
        self._last = itertools.count(_LAST, -1)

    async def put(self, numbers: Sequence[int]) -> None:
        self._topics.write(self._topic, values(numbers))

    def open(self, positions: PositionStore | None = None) -> Input:
        last = next(self._last)
        settings = KafkaSource(
            brokers=[self._topics.address],
            topics=[self._topic],
            session_timeout=2.0,
            revoke_timeout=0.5,
            # The one partition goes to the member that comes first by its name: the newest.
            client_id=f"c{last}",
        )
        kind = Settled if last == _LAST else KafkaInput
        return kind(settings, Context(self._pipeline, positions))


class KafkaOutputStand:
    def __init__(self, topics: Topics, topic: str, source: str, dead: str, *, transactions: bool) -> None:
        self._topics = topics
        self._topic, self._source, self._dead = topic, source, dead
        self._transactions = transactions
        self._pipeline = f"kit-{token_hex(4)}"
        self._offset = itertools.count(1)
        self._opened: Output | None = None
        self._epoch = 0

    def open(self) -> Output:
        settings = KafkaSink(
            brokers=[self._topics.address],
            topic=self._topic,
            transactions=self._transactions,
            dead_letters=self._dead if self._transactions else "",
        )
        self._opened = KafkaOutput(settings, Context(self._pipeline))
        self._epoch = 0
        return self._opened

    async def source(self) -> Token:
        position = Position(self._pipeline, self._source, 0, next(self._offset), 1)
        assert isinstance(self._opened, KafkaOutput)
        if self._transactions and not self._epoch:
            self._epoch, _ = await self._opened.take_over(position.lane)
        return Token(position.lane, self._epoch, position)

    async def numbers(self) -> list[int]:
        return [json.loads(value or b"")["n"] for _, value, _ in self._topics.read(self._topic)]

    async def letters(self) -> list[str]:
        return [letter.decode(value or b"").message.id for _, value, _ in self._topics.read(self._dead)]


@asynccontextmanager
async def _input(topics: Topics) -> AsyncIterator[InputStand]:
    topic = topics.create()
    yield KafkaInputStand(topics, topic)
    topics.delete(topic)


@asynccontextmanager
async def _output(topics: Topics, transactions: bool) -> AsyncIterator[OutputStand]:
    names = topics.create(), topics.create(), topics.create()
    yield KafkaOutputStand(topics, *names, transactions=transactions)
    topics.delete(*names)


@pytest.fixture
def kafka_input(kafka: Topics) -> InputStands:
    return partial(_input, kafka)


@pytest.fixture
def kafka_plain(kafka: Topics) -> OutputStands:
    return partial(_output, kafka, False)


@pytest.fixture
def kafka_transactional(kafka: Topics) -> OutputStands:
    return partial(_output, kafka, True)
