"""A stream as an input: a consumer of a group, and what others have left behind."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from redis import exceptions

from adapters.redis.held import DONE, KEEP, Held
from adapters.redis.link import Link
from adapters.redis.seat import Seat
from adapters.redis.settings import RedisInput
from gateway.core.stream import Batch, Context, Credit, Fenced, Lag, Source, Token, Transient

logger = logging.getLogger("sluice.streams")

#: entries that are asked for at once
_PAGE: Final = 500
#: id, fields, how often it was delivered to a process
_Entry = tuple[str, dict[bytes, bytes], int]


class RedisSource:
    """An Input of one lane, the stream. Its epoch counts connections; who has an entry, the group knows."""

    def __init__(self, settings: RedisInput, context: Context) -> None:
        self._link: Final = Link(settings)
        self._settings: Final = settings
        self._group: Final = settings.group or context.pipeline
        self._pipeline: Final = context.pipeline
        self._seat: Final = Seat(context.state)
        self._consumer = settings.consumer
        self._epoch = 0
        #: where to go on with the entries that this consumer had before; "" when all of them are read
        self._behind = ""
        self._inbox: deque[_Entry] = deque()
        #: entries that are read and not settled; those of earlier connections, whose delivery is counted already
        self._open: dict[str, None] = {}
        self._before: dict[str, None] = {}
        self._sweep = 0.0
        #: entries that are asked for; at most so many, and how large the largest of late was
        self._rows, self._most, self._largest = 1, 4, 1
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def source(self) -> Source:
        return Source(self._link.name, f"redis://{self._link.place}", stable_ids=True, shared=True)

    async def connect(self) -> None:
        await self.close()
        if not self._settings.consumer:
            self._consumer = f"{socket.gethostname()}/{self._pipeline}/{self._seat.take()}"
        client = await self._link.renew()
        with self._link.doing("making a consumer group of"):
            await self._make_group(client)
        self._epoch += 1
        self._behind, self._sweep = "-", time.monotonic()
        self._tasks["keep"] = asyncio.create_task(self._keep(client))

    async def _make_group(self, client: Any) -> None:
        start = "$" if self._settings.start == "latest" and not self._epoch else "0"
        try:
            await client.xgroup_create(self._settings.stream, self._group, start, mkstream=True)
        except exceptions.NoPermissionError:
            return  # it may be there; else reading says so
        except exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
            return
        if self._epoch:
            text = "%s: the consumer group '%s' was lost, and its position with it: it begins with what is there now"
            logger.warning(text, self._link.name, self._group)

    async def close(self) -> None:
        tasks, self._tasks = [*self._tasks.values()], {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._before |= self._open
        self._open.clear()
        self._inbox.clear()
        await self._link.close()
        self._seat.leave()

    async def read(self, credit: Credit) -> tuple[Batch, Token]:
        while not self._inbox:
            if "fetch" not in self._tasks:
                self._rows = max(1, min(credit.rows, credit.nbytes // self._largest, self._most))
                # what comes is this consumer's, whether the read is cancelled or not
                self._tasks["fetch"] = asyncio.create_task(self._fetch(self._link.client))
            await asyncio.wait((self._tasks["fetch"],))
            with self._link.doing("reading"):
                self._tasks.pop("fetch").result()
        taken: list[_Entry] = []
        size = 0
        while self._inbox and len(taken) < credit.rows and size < credit.nbytes:
            taken.append(self._inbox.popleft())
            size += _size(taken[-1][1])
        return self._batch(taken), Token(self._settings.stream, self._epoch, self._held(entry[0] for entry in taken))

    def _held(self, ids: Iterable[str]) -> Held:
        return Held(self._link.place, self._settings.stream, self._group, self._consumer, ids)

    async def ack(self, token: Token) -> None:
        held: Held = token.position
        if token.epoch != self._epoch:
            raise Fenced(f"{self._link.name} was connected anew, its entries come again")
        if not held.settled:
            with self._link.doing("acknowledging entries of"):
                await held.settle(self._link.client, [word for name in held.ids for word in (name, DONE, 0)])
        for name in held.ids:
            self._open.pop(name, None)

    async def lag(self) -> Mapping[str, Lag]:
        client, name = self._link.client, self._settings.stream
        with self._link.doing("asking for the lag of"):
            groups = {found["name"].decode(): found for found in await client.xinfo_groups(name)}
            group = groups.get(self._group, {})
            if group.get("lag") is None:  # before Redis 7, or entries were deleted
                return {name: Lag()}
            waiting = await client.xrange(name, b"(" + group["last-delivered-id"], "+", 1)
        oldest = [entry[0] for entry in [*self._inbox][:1]] or [entry.decode() for entry, _ in waiting]
        age = max(0.0, time.time() - _milliseconds(oldest[0]) / 1000) if oldest else 0.0
        return {name: Lag(group["lag"] + len(self._inbox), age)}

    async def _keep(self, client: Any) -> None:
        """Signs of life for what is in flight, that nobody takes it over while a model or an output is slow."""
        while True:
            await asyncio.sleep(self._settings.claim_seconds / 3)
            with suppress(Transient), self._link.doing("keeping entries of"):
                await self._held(()).settle(client, [word for name in self._open for word in (name, KEEP, 0)])

    async def _fetch(self, client: Any) -> None:
        """What this consumer had, then what others have left behind, then what is new."""
        given, now = self._settings, time.monotonic()
        if self._behind:
            self._behind = await self._claim(client, self._behind, self._consumer, 0)
            if not self._behind:
                self._before.clear()
        elif now >= self._sweep:
            after = "-"
            while after and not self._inbox:
                after = await self._claim(client, after, None, round(given.claim_seconds * 1000))
            self._sweep = now if after else now + given.claim_seconds / 2
        else:
            block = max(1, round(1000 * min(self._sweep - now, given.timeout_seconds / 2)))
            names = {given.stream: ">"}
            for _, found in await client.xreadgroup(self._group, self._consumer, names, count=self._rows, block=block):
                self._take(found, {})

    async def _claim(self, client: Any, after: str, consumer: str | None, idle: int) -> str:
        """A page of those that were delivered and not acknowledged. After which one the next begins, "": there is none.

        A delivery to another process counts, one to another connection of this one does not."""
        name, counts = self._settings.stream, dict[str, int]()
        page = await client.xpending_range(name, self._group, after, "+", self._rows, consumer, idle or None)
        for found in page:
            entry = found["message_id"].decode()
            if entry not in self._open:
                counts[entry] = found["times_delivered"] + (entry not in self._before)
        for count in {*counts.values()}:
            ids = [entry for entry in counts if counts[entry] == count]
            self._take(await client.xclaim(name, self._group, self._consumer, idle, ids, retrycount=count), counts)
        self._inbox = deque(sorted(self._inbox, key=lambda entry: [int(part) for part in entry[0].split("-")]))
        return "(" + page[-1]["message_id"].decode() if len(page) == self._rows else ""

    def _take(self, found: Sequence[tuple[bytes | None, dict[bytes, bytes]]], counts: Mapping[str, int]) -> None:
        if found:
            # nobody tells the size of what waits: it is felt for
            self._most, self._largest = min(_PAGE, 4 * len(found)), max(1, self._largest // 2)
        for name, fields in found:
            if name is not None:  # before Redis 7: it was deleted
                entry = name.decode()
                self._open[entry] = None
                self._before.pop(entry, None)
                self._inbox.append((entry, fields, counts.get(entry, 1)))
                self._largest = max(self._largest, _size(fields))

    def _batch(self, taken: Sequence[_Entry]) -> Batch:
        given, most = self._settings, self._settings.max_deliveries
        body, key = given.body.encode(), given.key.encode()
        faults = {row: f"it has no field '{given.body}'" for row, entry in enumerate(taken) if body not in entry[1]}
        for row, (_, _, count) in enumerate(taken):
            if most and count > most:
                faults[row] = f"it was delivered {count} times and never acknowledged; max_deliveries is {most}"
        return Batch(
            [f"{given.stream}/{name}" for name, _, _ in taken],
            [fields.get(body) for _, fields, _ in taken],
            [fields.get(key) for _, fields, _ in taken] if key else (),
            [
                tuple((name.decode("utf-8", "replace"), value) for name, value in fields.items() if name != body)
                for _, fields, _ in taken
            ],
            [_milliseconds(name) for name, _, _ in taken],
            faults,
        )


def _milliseconds(entry: str) -> int:
    return int(entry.partition("-")[0])


def _size(fields: Mapping[bytes, bytes]) -> int:
    return sum(map(len, fields)) + sum(map(len, fields.values()))
