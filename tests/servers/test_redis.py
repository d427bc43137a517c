from __future__ import annotations

from servers.redis import Redis


def test_it_outlives_a_kill(own_redis: Redis) -> None:
    stream = own_redis.name()
    own_redis.add(stream, [b"1", b"2"])
    own_redis.kill()
    own_redis.start()
    assert own_redis.bodies(stream) == [b"1", b"2"]
    own_redis.delete(stream)
