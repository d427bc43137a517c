"""Inputs and outputs of one pipeline on a broker, not connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from secrets import token_hex
from typing import Any

from adapters.kafka.input import KafkaInput
from adapters.kafka.output import KafkaOutput
from adapters.kafka.settings import KafkaSink, KafkaSource
from gateway.core.stream import Context, Credit, Message, PositionStore

CREDIT = Credit(1000, 1 << 30)


class Sides:
    """Opens the sides of one pipeline."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.pipeline = f"p-{token_hex(5)}"

    def input(self, topic: str, positions: PositionStore | None = None, **settings: Any) -> KafkaInput:
        given = {"brokers": [self.address], "topics": [topic], "session_timeout": 2.0, "revoke_timeout": 0.5}
        return KafkaInput(KafkaSource(**given | settings), Context(self.pipeline, positions))

    def output(self, topic: str, **settings: Any) -> KafkaOutput:
        given = {"brokers": [self.address], "topic": topic, "transactions": False}
        return KafkaOutput(KafkaSink(**given | settings), Context(self.pipeline))


async def until(check: Callable[[], object], limit: float = 20.0) -> None:
    """Waits for what others do."""
    async with asyncio.timeout(limit):
        while not check():  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(0.01)


async def messages(connector: KafkaInput, count: int, credit: Credit = CREDIT) -> list[Message]:
    found: list[Message] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            got = await connector.read(credit)
            assert got is not None
            found += [got[0][at] for at in range(len(got[0]))]
            await connector.ack(got[1])
    return found
