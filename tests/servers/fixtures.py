"""Two fixtures a kind of server: one for the whole run, and one that the tests of a file may stop, kill and pause.

That of the run is what an environment variable points at, else one of the run's own:

    SLUICE_TEST_POSTGRESQL   postgresql://user:password@host:port/database
    SLUICE_TEST_MARIADB      mysql://user:password@host:port/database
    SLUICE_TEST_RABBITMQ     amqp://user:password@host:port/
    SLUICE_TEST_KAFKA        host:port
    SLUICE_TEST_REDIS        redis://user:password@host:port/database

Not installed: the tests that need it are skipped, and the run ends with a list of them; with CI=true they fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from servers.server import Missing, Server

if TYPE_CHECKING:
    from servers.mariadb import MariaDatabases
    from servers.postgresql import Databases
    from servers.rabbitmq import Queues

#: server → why it is not there
missing: dict[str, str] = {}

S = TypeVar("S", bound=Server)


@contextmanager
def serving(name: str, server: Callable[[], S]) -> Iterator[S]:
    """A server of the run's own. Skips the test where it is not installed; fails it in CI."""
    try:
        with server() as running:
            yield running
    except Missing as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name}: {reason}")
        missing[name] = str(reason)
        pytest.skip(f"{name}: {reason}")


def of_the_run(kind: str, client: str, server: str) -> Any:
    """`client` and `server`, classes of servers/<kind>.py: who speaks to a server by its address, and who runs one."""

    @pytest.fixture(scope="session", name=kind)
    def fixture() -> Iterator[Any]:
        """One for the whole run. Tests that stop or pause one take the `own_…`."""
        classes = import_module(f"servers.{kind}")  # its driver: only where it is needed
        if address := os.environ.get(f"SLUICE_TEST_{kind.upper()}"):
            yield getattr(classes, client)(address)
            return
        with serving(kind, getattr(classes, server)) as running:
            yield running

    return fixture


def of_the_file(kind: str, server: str) -> Any:
    @pytest.fixture(scope="module", name=f"own_{kind}")
    def fixture() -> Iterator[Any]:
        """One that the tests of one file may stop, kill and pause; they leave it running."""
        with serving(kind, getattr(import_module(f"servers.{kind}"), server)) as running:
            yield running

    return fixture


postgresql = of_the_run("postgresql", "Databases", "PostgreSQL")
own_postgresql = of_the_file("postgresql", "PostgreSQL")
mariadb = of_the_run("mariadb", "MariaDatabases", "MariaDB")
own_mariadb = of_the_file("mariadb", "MariaDB")
kafka = of_the_run("kafka", "Topics", "Kafka")
own_kafka = of_the_file("kafka", "Kafka")
rabbitmq = of_the_run("rabbitmq", "Queues", "RabbitMQ")
own_rabbitmq = of_the_file("rabbitmq", "RabbitMQ")
redis = of_the_run("redis", "Streams", "Redis")
own_redis = of_the_file("redis", "Redis")


@pytest.fixture
def postgresql_database(postgresql: Databases) -> Iterator[str]:
    """The URL of an empty database, which goes with the test."""
    url = postgresql.database()
    yield url
    postgresql.drop(url)


@pytest.fixture
def mariadb_database(mariadb: MariaDatabases) -> Iterator[str]:
    """The URL of an empty database, which goes with the test."""
    url = mariadb.database()
    yield url
    mariadb.drop(url)


@pytest.fixture
def rabbitmq_queue(rabbitmq: Queues) -> Iterator[str]:
    """An empty classic queue, which goes with the test."""
    name = rabbitmq.queue(type="classic")
    yield name
    rabbitmq.delete(name)
