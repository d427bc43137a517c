"""A URL that names several servers, of which some are no help."""

import asyncio
import time
from urllib.parse import urlsplit

import pytest
from servers.postgresql import Databases, PostgreSQL
from servers.server import free_port

from gateway.core.errors import Unavailable
from gateway.store.contract import Act
from gateway.store.postgresql.store import PostgresqlStore

ACT = Act("ann", "here", "test", "m")


def with_hosts(url: str, *hosts: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}@{','.join(hosts)}").geturl()


def place(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


async def changed(url: str) -> float:
    """Makes two changes; returns the seconds that the second one took."""
    async with PostgresqlStore(url, None, "here") as store:
        first = (await store.change(None, lambda state: state, ACT)).revision
        began = time.monotonic()
        assert (await store.change(None, lambda state: state, ACT)).revision == first + 1
        return time.monotonic() - began


def test_one_that_is_down_is_passed_over(postgresql: Databases, postgresql_database: str) -> None:
    down = f"127.0.0.1:{free_port()}"
    for hosts in ((down, place(postgresql.url)), (place(postgresql.url), down)):
        asyncio.run(changed(with_hosts(postgresql_database, *hosts)))


def test_one_that_is_silent_is_passed_over_once(
    own_postgresql: PostgreSQL, postgresql: Databases, postgresql_database: str
) -> None:
    own_postgresql.pause()
    try:
        url = with_hosts(postgresql_database, place(own_postgresql.url), place(postgresql.url))
        assert asyncio.run(changed(url)) < 2
    finally:
        own_postgresql.resume()


def test_one_that_takes_no_changes_is_passed_over(
    own_postgresql: PostgreSQL, postgresql: Databases, postgresql_database: str
) -> None:
    name = urlsplit(postgresql_database).path[1:]
    own_postgresql.sql(f"CREATE DATABASE {name}")
    own_postgresql.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    both = with_hosts(postgresql_database, place(own_postgresql.url), place(postgresql.url))
    asyncio.run(changed(both))
    assert postgresql.sql("SELECT value FROM sluice.revision", postgresql_database) == [("2",)]
    down = with_hosts(postgresql_database, f"127.0.0.1:{free_port()}", place(own_postgresql.url))
    with pytest.raises(Unavailable, match="target attribute requirement"):
        asyncio.run(changed(down))
