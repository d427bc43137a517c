"""Both sides of a stream on a Redis, not connected."""

from __future__ import annotations

import asyncio
from typing import Any

from servers.redis import Streams

from adapters.redis.settings import RedisInput, RedisOutput
from adapters.redis.sink import RedisSink
from adapters.redis.source import RedisSource
from gateway.core.stream import Context, Credit, Token

CONTEXT = Context("p")
WIDE = Credit(1000, 1 << 26)


def source(server: Streams, stream: str, **settings: Any) -> RedisSource:
    return RedisSource(RedisInput(url=server.url, stream=stream, **settings), CONTEXT)


def sink(server: Streams, stream: str, **settings: Any) -> RedisSink:
    return RedisSink(RedisOutput(url=server.url, stream=f"{stream}-out", **settings), CONTEXT)


async def read(connector: RedisSource, count: int) -> tuple[list[bytes | None], list[Token]]:
    values: list[bytes | None] = []
    tokens = []
    async with asyncio.timeout(30):
        while len(values) < count:
            batch, token = await connector.read(WIDE)
            values += batch.values
            tokens.append(token)
    return values, tokens


def numbers(stop: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, stop)]
