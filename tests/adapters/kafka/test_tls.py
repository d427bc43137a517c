"""Kafka over TLS and behind a login, read and written: whom it trusts, and what it says where that fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from contract.stands import connected, run

from adapters.kafka.settings import Sasl, Tls
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Batch, Credit, Rows, Token, Transient
from gateway.telemetry.logs import set_level

if TYPE_CHECKING:
    from kafka_sides import Sides
    from servers.kafka import Kafka

ROWS = Rows(Batch(["1", "2"], [b"1", b"2"]), Token("l", 1))
ALICE: dict[str, Any] = {"username": "alice", "password": "wonder"}


@pytest.fixture(autouse=True, params=["info", "debug"])
def _log(request: pytest.FixtureRequest) -> Iterator[None]:
    """As the gateway has it: why a broker cannot be reached aiokafka tells its log alone."""
    before = [logging.getLogger(name).level for name in ("", "aiokafka")]
    set_level(request.param)
    yield
    for name, level in zip(("", "aiokafka"), before, strict=True):
        logging.getLogger(name).setLevel(level)


def through(kafka: Kafka, sides: Sides, address: str, **settings: Any) -> None:
    """What is written there is read there, in a group."""
    topic = kafka.create()

    async def test() -> None:
        async with connected(sides.output(topic, brokers=[address], **settings)) as output:
            await output.write(ROWS)
        async with connected(sides.input(topic, brokers=[address], **settings)) as connector:
            found = await connector.read(Credit(10, 1 << 20))
            assert found is not None
            assert list(found[0].values) == [b"1", b"2"]
            await connector.ack(found[1])

    run(test)
    kafka.delete(topic)


def refusal(kafka: Kafka, sides: Sides, address: str, **settings: Any) -> list[str]:
    """Of an output and of an input."""
    topic = kafka.create()
    said = []

    async def test() -> None:
        for side in (sides.output, sides.input):
            connector = side(topic, brokers=[address], request_timeout=5.0, **settings)
            with pytest.raises(Transient) as refused:
                await connector.connect()
            said.append(refused.value.message)
            await connector.close()

    run(test)
    kafka.delete(topic)
    return said


def test_brokers_that_are_known(own_kafka: Kafka, own_sides: Sides) -> None:
    through(own_kafka, own_sides, own_kafka.tls, tls=Tls(ca=str(own_kafka.ca)))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_login(own_kafka: Kafka, own_sides: Sides, mechanism: Any) -> None:
    through(own_kafka, own_sides, own_kafka.sasl, sasl=Sasl(**ALICE, mechanism=mechanism))


def test_a_login_over_tls(own_kafka: Kafka, own_sides: Sides) -> None:
    known = Tls(ca=str(own_kafka.ca))
    through(own_kafka, own_sides, own_kafka.secure, tls=known, sasl=Sasl(**ALICE))
    wrong = Sasl(username="alice", password="wrong")
    for said in refusal(own_kafka, own_sides, own_kafka.secure, tls=known, sasl=wrong):
        assert "uthentication" in said, said
        assert "wrong" not in said, said


def test_brokers_that_are_not_known(own_kafka: Kafka, own_sides: Sides, certificates: Path) -> None:
    for tls in (Tls(), Tls(ca=str(certificates / "ca.pem"))):
        for said in refusal(own_kafka, own_sides, own_kafka.tls, tls=tls):
            assert "certificate verify failed" in said, said


def test_brokers_of_another_name(own_kafka: Kafka, own_sides: Sides) -> None:
    """Their certificate is for 127.0.0.1."""
    address = own_kafka.tls.replace("127.0.0.1", "localhost")
    for said in refusal(own_kafka, own_sides, address, tls=Tls(ca=str(own_kafka.ca))):
        assert "not valid for 'localhost'" in said, said
    through(own_kafka, own_sides, address, tls=Tls(ca=str(own_kafka.ca), verify_hostname=False))


def test_files_that_cannot_be_used_are_named(own_kafka: Kafka, own_sides: Sides) -> None:
    async def test() -> None:
        for side in (own_sides.output, own_sides.input):
            connector = side("t", brokers=[own_kafka.tls], tls=Tls(ca="/nowhere"))
            with pytest.raises(InvalidArgument, match="tls: /nowhere: "):
                await connector.connect()
            await connector.close()

    run(test)
