"""The stands of the memory adapter."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
from contract.stands import InputStand, InputStands, OutputStand, OutputStands, numbers_of, values

from adapters import memory
from gateway.core.stream import Batch, Context, Input, Message, Output, PositionStore, Token

_names = (f"contract-{number}" for number in itertools.count())


class MemoryInputStand:
    def __init__(self, topic: memory.Topic) -> None:
        self._topic = topic
        self._put = itertools.count()

    async def put(self, numbers: Sequence[int]) -> None:
        self._topic.put(Message(f"{next(self._put)}", value) for value in values(numbers))

    def open(self, positions: PositionStore | None = None) -> Input:
        return memory.MemoryInput(memory.MemorySource(topic=self._topic.name), Context("kit", positions))


class MemoryOutputStand:
    def __init__(self, topic: memory.Topic, ability: str) -> None:
        self._topic = topic
        self._ability = ability
        self._source = memory.topic(f"{topic.name}-source")
        self._position = itertools.count(1)

    def open(self) -> Output:
        settings = memory.MemorySink(topic=self._topic.name, ability=self._ability, dead_letters=True)  # type: ignore[arg-type]
        return memory.MemoryOutput(settings, Context("kit"))

    async def source(self) -> Token:
        lane = f"{self._source.name}/0"
        place = self._topic if self._ability == "stores_offsets" else self._source
        if ("kit", lane) not in place.owners:
            place.take_over("kit", lane)
        return Token(lane, place.owners["kit", lane][0], next(self._position))

    async def numbers(self) -> list[int]:
        return numbers_of(Batch.of(self._topic.messages()))

    async def letters(self) -> list[str]:
        return [letter.message.id for letter in self._topic.letters]


@asynccontextmanager
async def _input() -> AsyncIterator[InputStand]:
    topic = memory.topic(next(_names))
    yield MemoryInputStand(topic)
    memory.forget(topic.name)


@asynccontextmanager
async def _output(ability: str) -> AsyncIterator[OutputStand]:
    topic = memory.topic(next(_names))
    yield MemoryOutputStand(topic, ability)
    memory.forget(topic.name)
    memory.forget(f"{topic.name}-source")


@pytest.fixture
def memory_input() -> InputStands:
    return _input


@pytest.fixture
def memory_plain() -> OutputStands:
    return partial(_output, "plain")


@pytest.fixture
def memory_idempotent() -> OutputStands:
    return partial(_output, "idempotent")


@pytest.fixture
def memory_stores_offsets() -> OutputStands:
    return partial(_output, "stores_offsets")


@pytest.fixture
def memory_transactional() -> OutputStands:
    return partial(_output, "transactional")
