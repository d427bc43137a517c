"""The stands of the Redis adapter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

import pytest
from contract.stands import InputStand, InputStands, OutputStand, OutputStands, values
from servers.redis import Streams

from adapters.redis.held import Held
from adapters.redis.settings import RedisInput, RedisOutput
from adapters.redis.sink import RedisSink
from adapters.redis.source import RedisSource
from gateway.core import letter
from gateway.core.stream import Context, Input, Output, PositionStore, Token


class RedisInputStand:
    def __init__(self, server: Streams, stream: str) -> None:
        self._server = server
        self._stream = stream

    async def put(self, numbers: Sequence[int]) -> None:
        await asyncio.to_thread(self._server.add, self._stream, values(numbers))

    def open(self, positions: PositionStore | None = None) -> Input:
        return RedisSource(RedisInput(url=self._server.url, stream=self._stream), Context("kit", positions))


class RedisOutputStand:
    """Of an input on the same server, whose entries are acknowledged with the results; or of another system."""

    def __init__(self, server: Streams, stream: str, *, transactional: bool) -> None:
        self._server = server
        self._stream, self._dead, self._source = stream, f"{stream}-dead", f"{stream}-source"
        self._transactional = transactional
        self._position = count(1)
        self.taken: list[str] = []

    def open(self) -> Output:
        settings = RedisOutput(
            url=self._server.url, stream=self._stream, dead_letters=self._dead if self._transactional else ""
        )
        return RedisSink(settings, Context("kit"))

    async def source(self) -> Token:
        if not self._transactional:
            return Token("lane", 0, next(self._position))
        return await asyncio.to_thread(self._entry)

    def _entry(self) -> Token:
        with self._server.client() as client:
            entry = client.xadd(self._source, {"body": "0"}).decode()
            if len(self.taken) == 0:
                client.xgroup_create(self._source, "kit", "0")
            client.xreadgroup("kit", "me", {self._source: ">"})
        self.taken.append(entry)
        place = RedisInput(url=self._server.url, stream=self._source).place()
        return Token(self._source, 1, Held(place, self._source, "kit", "me", [entry]))

    async def numbers(self) -> list[int]:
        return [json.loads(body)["n"] for body in await asyncio.to_thread(self._server.bodies, self._stream)]

    async def letters(self) -> list[str]:
        bodies = await asyncio.to_thread(self._server.bodies, self._dead)
        return [letter.decode(body).message.id for body in bodies]


@asynccontextmanager
async def _input(server: Streams) -> AsyncIterator[InputStand]:
    stream = server.name()
    yield RedisInputStand(server, stream)
    server.delete(stream)


@asynccontextmanager
async def _output(server: Streams, transactional: bool) -> AsyncIterator[OutputStand]:
    stream = server.name()
    stand = RedisOutputStand(server, stream, transactional=transactional)
    yield stand
    if stand.taken:
        left = {entry for entry, _, _ in server.pending(f"{stream}-source", "kit")}
        assert left <= {stand.taken[-1]}, "a write acknowledges what it is the result of"
    server.delete(stream, f"{stream}-dead", f"{stream}-source")


@pytest.fixture
def redis_input(redis: Streams) -> InputStands:
    return partial(_input, redis)


@pytest.fixture
def redis_plain(redis: Streams) -> OutputStands:
    return partial(_output, redis, False)


@pytest.fixture
def redis_transactional(redis: Streams) -> OutputStands:
    return partial(_output, redis, True)
