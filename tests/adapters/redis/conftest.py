"""A stream for each test, and those beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.redis import Streams


@pytest.fixture
def stream(redis: Streams) -> Iterator[str]:
    name = redis.name()
    yield name
    redis.delete(name, f"{name}-out", f"{name}-dead")
