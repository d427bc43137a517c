"""A user who is deleted while a stream runs, of brokers that ask who one is again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from contract.stands import run
from copying import copying
from kafka_sides import Sides
from servers.fixtures import serving
from servers.kafka import Kafka

from adapters.kafka.settings import Sasl

COUNT = 300


class Distrustful(Kafka):
    """A connection is good for a second and a half."""

    def __init__(self) -> None:
        super().__init__(connections_max_reauth_ms="1500")

    def enrol(self, user: str, password: str) -> None:
        told = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
        self._alter(UserScramCredentialUpsertion(user, told, password.encode()))

    def strike_off(self, user: str) -> None:
        self._alter(UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_256))

    def _alter(self, change: Any) -> None:
        admin = self.admin()
        for done in admin.alter_user_scram_credentials([change]).values():
            done.result(30)


@pytest.fixture(scope="module")
def distrustful() -> Iterator[Distrustful]:
    with serving("kafka", Distrustful) as broker:
        yield broker


@pytest.mark.parametrize("exactly", [True, False])
def test_a_user_who_is_deleted_and_made_again(distrustful: Distrustful, exactly: bool) -> None:
    sides = Sides(distrustful.address)
    source, target = distrustful.create(2), distrustful.create(2)
    values: list[bytes | None] = [b"%d" % n for n in range(COUNT)]
    distrustful.enrol("bob", "builder")
    bob: dict[str, Any] = {
        "brokers": [distrustful.sasl], "request_timeout": 5.0,
        "sasl": Sasl(username="bob", password="builder", mechanism="SCRAM-SHA-256"),
    }  # fmt: skip

    async def test() -> None:
        out = sides.output(target, transactions=exactly, **bob)
        async with copying(sides.input(source, out if exactly else None, **bob), out) as copier:
            distrustful.write(source, values[:100], values[:100])
            await copier.copies(100)
            distrustful.strike_off("bob")
            await asyncio.to_thread(distrustful.write, source, values[100:], values[100:])
            await copier.waits("(in|out)put: .*uthentication failed")
            distrustful.enrol("bob", "builder")
            await copier.copies(COUNT)

    run(test)
    found = [int(value or b"") for _, value, _ in distrustful.read(target)]
    assert set(found) == set(range(COUNT))
    assert len(found) <= COUNT + (0 if exactly else 200)
    distrustful.delete(source, target)


@pytest.mark.parametrize("exactly", [True, False])
def test_connections_that_end_again_and_again(distrustful: Distrustful, exactly: bool) -> None:
    """A batch now and then, over several lives of a connection: nothing is repeated, and nothing waits for long."""
    sides = Sides(distrustful.address)
    source, target = distrustful.create(2), distrustful.create(2)
    alice: dict[str, Any] = {"brokers": [distrustful.sasl], "sasl": Sasl(username="alice", password="wonder")}

    async def test() -> None:
        out = sides.output(target, transactions=exactly, **alice)
        async with copying(sides.input(source, out if exactly else None, **alice), out) as copier:
            for n in range(5):
                distrustful.write(source, [b"%d" % n], [b"%d" % n])
                await copier.copies(n + 1)
                await asyncio.sleep(0.6)  # the broker looks at its clock when something comes

    run(test)
    found = sorted(int(value or b"") for _, value, _ in distrustful.read(target))
    assert sorted(set(found)) == list(range(5))
    if exactly:
        assert found == list(range(5))
    distrustful.delete(source, target)
