"""One fixture a server, for the whole run: what an environment variable points at, else one of the run's own.

    SLUICE_TEST_POSTGRESQL   postgresql://user:password@host:port/database
    SLUICE_TEST_MARIADB      mysql://user:password@host:port/database
    SLUICE_TEST_RABBITMQ     amqp://user:password@host:port/
    SLUICE_TEST_KAFKA        host:port

Not installed: the tests that need it are skipped, and the run ends with a list of them; with CI=true they fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from servers.mariadb import MariaDatabases, MariaDB
from servers.postgresql import Databases, PostgreSQL
from servers.server import Missing, Server

if TYPE_CHECKING:
    from servers.kafka import Kafka, Topics
    from servers.rabbitmq import Queues, RabbitMQ

#: server → why it is not there
missing: dict[str, str] = {}


@contextmanager
def serving(name: str, server: type[Server]) -> Iterator[Server]:
    """A server of the run's own. Skips the test where it is not installed; fails it in CI."""
    try:
        with server() as running:
            yield running
    except Missing as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name}: {reason}")
        missing[name] = str(reason)
        pytest.skip(f"{name}: {reason}")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Databases]:
    """A server for the whole run. Tests that stop or pause one take `own_postgresql`."""
    if url := os.environ.get("SLUICE_TEST_POSTGRESQL"):
        yield Databases(url)
        return
    with serving("postgresql", PostgreSQL) as server:
        assert isinstance(server, PostgreSQL)
        yield server


@pytest.fixture(scope="module")
def own_postgresql() -> Iterator[PostgreSQL]:
    """A server that the tests of one file may stop, kill and pause; they leave it running."""
    with serving("postgresql", PostgreSQL) as server:
        assert isinstance(server, PostgreSQL)
        yield server


@pytest.fixture
def postgresql_database(postgresql: Databases) -> Iterator[str]:
    """The URL of an empty database, which goes with the test."""
    url = postgresql.database()
    yield url
    postgresql.drop(url)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDatabases]:
    """A server for the whole run. Tests that stop or pause one take `own_mariadb`."""
    if url := os.environ.get("SLUICE_TEST_MARIADB"):
        yield MariaDatabases(url)
        return
    with serving("mariadb", MariaDB) as server:
        assert isinstance(server, MariaDB)
        yield server


@pytest.fixture(scope="module")
def own_mariadb() -> Iterator[MariaDB]:
    """A server that the tests of one file may stop, kill and pause; they leave it running."""
    with serving("mariadb", MariaDB) as server:
        assert isinstance(server, MariaDB)
        yield server


@pytest.fixture
def mariadb_database(mariadb: MariaDatabases) -> Iterator[str]:
    """The URL of an empty database, which goes with the test."""
    url = mariadb.database()
    yield url
    mariadb.drop(url)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Topics]:
    """A broker for the whole run. Tests that stop or pause one take `own_kafka`."""
    from servers.kafka import Kafka, Topics  # librdkafka: only where it is needed

    if address := os.environ.get("SLUICE_TEST_KAFKA"):
        yield Topics(address)
        return
    with serving("kafka", Kafka) as server:
        assert isinstance(server, Kafka)
        yield server


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[Kafka]:
    """A broker that the tests of one file may stop, kill and pause; they leave it running."""
    from servers.kafka import Kafka

    with serving("kafka", Kafka) as server:
        assert isinstance(server, Kafka)
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[Queues]:
    """A broker for the whole run. Tests that stop or pause one take `own_rabbitmq`."""
    from servers.rabbitmq import Queues, RabbitMQ

    if url := os.environ.get("SLUICE_TEST_RABBITMQ"):
        yield Queues(url)
        return
    with serving("rabbitmq", RabbitMQ) as server:
        assert isinstance(server, RabbitMQ)
        yield server


@pytest.fixture(scope="module")
def own_rabbitmq() -> Iterator[RabbitMQ]:
    """A broker that the tests of one file may stop, kill and pause; they leave it running."""
    from servers.rabbitmq import RabbitMQ

    with serving("rabbitmq", RabbitMQ) as server:
        assert isinstance(server, RabbitMQ)
        yield server


@pytest.fixture
def rabbitmq_queue(rabbitmq: Queues) -> Iterator[str]:
    """An empty classic queue, which goes with the test."""
    name = rabbitmq.queue(type="classic")
    yield name
    rabbitmq.delete(name)
