"""Messages of a queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from secrets import token_hex
from typing import Any, Final

from pamqp import commands

from adapters.rabbitmq import properties
from adapters.rabbitmq.frames import Delivery
from adapters.rabbitmq.link import Link
from adapters.rabbitmq.settings import RabbitInput
from gateway.core.stream import Batch, Context, Credit, Fenced, Lag, Source, Token, Transient

#: bytes that wait to be read, above which the broker is asked for no more, and below which it is again
HIGH: Final = 64 << 20
LOW: Final = 16 << 20

NOTHING: Final = properties.Properties()


class RabbitSource:
    """An Input of one lane, the queue. Its epoch is that of the channel: delivery tags die with it."""

    def __init__(self, settings: RabbitInput, context: Context, *, ends: bool = False) -> None:
        """ends: with the last message that was there when it began, so that it does not run after what comes back"""
        self._ends: Final = ends
        #: how many of those are still to be acknowledged; None: it was not connected yet
        self._owed: int | None = None
        self._given = 0
        self._settings: Final = settings
        self._lane: Final = settings.queue
        self._link: Final = Link(settings)
        self._epoch = 0
        #: in the ids of messages that have none of their own
        self._origin = ""
        self._inbox: deque[Delivery] = deque()
        self._waiting = 0
        self._held = False
        self._acknowledged = 0
        self._arrived = asyncio.Event()

    @property
    def source(self) -> Source:
        return Source(f"queue '{self._lane}'", stable_ids=self._settings.id == "message_id", shared=True)

    async def connect(self) -> None:
        settings = self._settings
        self._forget()
        wire = await self._link.renew()
        self._forget()
        wire.on_delivery = self._deliver
        wire.on_lost = self._lose
        await wire.call(commands.Basic.Qos(0, settings.prefetch, False))
        arguments: Any = settings.arguments() if settings.declare else {}
        declared: Any = await wire.call(
            commands.Queue.Declare(0, self._lane, passive=not settings.declare, durable=True, arguments=arguments)
        )
        if self._owed is None:
            self._owed = declared.message_count
        await wire.call(commands.Basic.Consume(0, self._lane, "", exclusive=settings.exclusive))

    async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
        most = credit.rows
        if self._ends:
            most = min(most, (self._owed or 0) - self._given)
            if most <= 0:
                return None
        while not self._inbox:
            wire = self._link.wire
            self._arrived.clear()
            if self._ends and not (await self.lag())[self._lane].records:
                return None
            if not self._inbox:
                await self._arrived.wait()
            wire.check()
        wire = self._link.wire
        taken: list[Delivery] = []
        size = 0
        while self._inbox and len(taken) < most and size < credit.nbytes:
            delivery = self._inbox.popleft()
            size += len(delivery.body)
            taken.append(delivery)
        self._waiting -= size
        self._given += len(taken)
        if self._held and self._waiting < LOW:
            self._held = False
            wire.hold(False)
        return self._batch(taken), Token(self._lane, self._epoch, taken[-1].tag)

    async def ack(self, token: Token) -> None:
        if token.epoch != self._epoch:
            raise Fenced(f"channel {token.epoch} of queue '{self._lane}' is closed, its messages come again")
        if token.position > self._acknowledged:
            self._link.wire.acknowledge(token.position)
            if self._owed is not None:
                # tags of a channel are numbers from 1 on
                self._owed -= token.position - self._acknowledged
                self._given -= token.position - self._acknowledged
            self._acknowledged = token.position

    async def lag(self) -> Mapping[str, Lag]:
        """Messages that are ready, and those that are here and not read. Not known while it takes no more of them."""
        if self._held:
            return {self._lane: Lag()}
        answer: Any = await self._link.wire.call(commands.Queue.Declare(0, self._lane, passive=True))
        return {self._lane: Lag(answer.message_count + len(self._inbox))}

    async def close(self) -> None:
        self._forget()
        await self._link.close()

    def _forget(self) -> None:
        """What was of the channel before."""
        self._epoch += 1
        self._origin = token_hex(6)
        self._inbox.clear()
        self._waiting = self._acknowledged = self._given = 0
        self._held = False
        self._arrived.set()

    def _deliver(self, delivery: Delivery) -> None:
        self._inbox.append(delivery)
        self._waiting += len(delivery.body)
        if self._waiting > HIGH and not self._held:
            self._held = True
            self._link.wire.hold(True)
        self._arrived.set()

    def _lose(self, _: Transient) -> None:
        self._inbox.clear()
        self._arrived.set()

    def _batch(self, taken: list[Delivery]) -> Batch:
        faults: dict[int, str] = {}
        found = []
        for at, delivery in enumerate(taken):
            try:
                found.append(properties.parse(delivery.properties))
            except ValueError as error:
                faults[at] = str(error)
                found.append(NOTHING)
        ids = [one.message_id.decode("utf-8", "replace") for one in found]
        if "" in ids:
            ids = [name or f"{self._origin}/{delivery.tag}" for name, delivery in zip(ids, taken, strict=True)]
            if self._settings.id:
                for at, one in enumerate(found):
                    if not one.message_id:
                        faults.setdefault(at, "it has no message_id, which `id: message_id` says that it has")
        headers = [one.as_headers() for one in found]
        times = [one.timestamp * 1000 for one in found]
        return Batch(
            ids,
            [delivery.body for delivery in taken],
            self._keys(taken, found),
            headers if any(headers) else (),
            times if any(times) else (),
            faults,
        )

    def _keys(self, taken: list[Delivery], found: list[properties.Properties]) -> list[bytes | None]:
        match self._settings.key:
            case "routing_key":
                return [delivery.routing_key for delivery in taken]
            case "correlation_id":
                return [one.correlation_id or None for one in found]
            case "message_id":
                return [one.message_id or None for one in found]
            case _:
                return []
