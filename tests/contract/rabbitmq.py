"""The stands of the RabbitMQ adapter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

import pytest
from contract.stands import InputStand, InputStands, OutputStand, OutputStands, values
from servers.rabbitmq import Queues

from adapters.rabbitmq import RabbitInput, RabbitOutput, RabbitSink, RabbitSource
from gateway.core.stream import Context, Input, Output, PositionStore, Token


class RabbitInputStand:
    def __init__(self, broker: Queues, queue: str) -> None:
        self._broker = broker
        self._queue = queue

    async def put(self, numbers: Sequence[int]) -> None:
        await asyncio.to_thread(self._broker.publish, self._queue, values(numbers))

    def open(self, positions: PositionStore | None = None) -> Input:
        return RabbitSource(RabbitInput(url=self._broker.url, queue=self._queue), Context("kit", positions))


class RabbitOutputStand:
    def __init__(self, broker: Queues, queue: str) -> None:
        self._broker = broker
        self._queue = queue
        self._seen: list[int] = []
        self._position = count()

    def open(self) -> Output:
        return RabbitSink(RabbitOutput(url=self._broker.url, routing_key=self._queue), Context("kit"))

    async def source(self) -> Token:
        return Token("lane", 0, next(self._position))

    async def numbers(self) -> list[int]:
        self._seen += [json.loads(body)["n"] for body in await asyncio.to_thread(self._broker.bodies, self._queue)]
        return self._seen

    async def letters(self) -> list[str]:
        return []


@asynccontextmanager
async def _input(broker: Queues) -> AsyncIterator[InputStand]:
    queue = await asyncio.to_thread(broker.queue, type="classic")
    yield RabbitInputStand(broker, queue)
    await asyncio.to_thread(broker.delete, queue)


@asynccontextmanager
async def _output(broker: Queues) -> AsyncIterator[OutputStand]:
    queue = await asyncio.to_thread(broker.queue, type="quorum")
    yield RabbitOutputStand(broker, queue)
    await asyncio.to_thread(broker.delete, queue)


@pytest.fixture
def rabbitmq_input(rabbitmq: Queues) -> InputStands:
    return partial(_input, rabbitmq)


@pytest.fixture
def rabbitmq_output(rabbitmq: Queues) -> OutputStands:
    return partial(_output, rabbitmq)
