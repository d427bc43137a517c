"""Redis streams, by consumer groups: exactly once between streams of one server, and as computed to elsewhere."""

from __future__ import annotations

from adapters.redis.letters import RedisLetters
from adapters.redis.settings import RedisInput, RedisOutput
from adapters.redis.sink import RedisSink, redrive
from adapters.redis.source import RedisSource
from gateway.core.stream import Adapter, Door

adapter = Adapter(
    "redis",
    "Redis streams by consumer groups: exactly once between streams of one server",
    input=Door(RedisInput, RedisSource),
    output=Door(RedisOutput, RedisSink),
    redrive=Door(RedisInput, redrive),
    letters=RedisLetters,
)
