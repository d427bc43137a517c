"""Rights that a user loses while a stream runs, and gets back: it waits, says which, and loses and repeats nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)
from contract.stands import run
from copying import copying

from adapters.kafka.settings import Sasl

if TYPE_CHECKING:
    from kafka_sides import Sides
    from servers.kafka import Kafka

TOPIC, GROUP, TRANSACTIONS = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
READ, WRITE = AclOperation.READ, AclOperation.WRITE
#: what is denied, to do what with it, whether results and offsets are in one transaction, and what the stream then says
RIGHTS = {
    "reading the input": (
        TOPIC,
        "source",
        READ,
        True,
        "input: .*(do not allow it.*TopicAuth|or this user may not see it)",
    ),
    "seeing the input": (TOPIC, "source", AclOperation.ALL, True, "input: .*or this user may not see it"),
    "the group": (GROUP, "pipeline", READ, False, "input: .*do not allow it.*GroupAuth"),
    "the group of a transaction": (GROUP, "pipeline", READ, True, "do not allow it.*GroupAuth"),
    "writing the output": (
        TOPIC,
        "target",
        WRITE,
        False,
        "output: (writing|connecting) to .*do not allow it.*TopicAuth",
    ),
    "writing in a transaction": (
        TOPIC,
        "target",
        WRITE,
        True,
        "output: a transaction for .*do not allow it.*TopicAuth",
    ),
    "the transactional id": (TRANSACTIONS, "pipeline", WRITE, True, "do not allow it.*TransactionalIdAuth"),
}


@pytest.fixture
def names(own_kafka: Kafka, own_sides: Sides) -> Iterator[dict[str, str]]:
    found = {"source": own_kafka.create(2), "target": own_kafka.create(2), "pipeline": own_sides.pipeline}
    yield found
    own_kafka.delete(found["source"], found["target"])


def values(start: int, stop: int) -> list[bytes | None]:
    return [b"%d" % n for n in range(start, stop)]


@pytest.mark.parametrize("right", RIGHTS)
def test_a_right_that_is_taken_and_given_back(
    own_kafka: Kafka, own_sides: Sides, names: dict[str, str], right: str
) -> None:
    kind, name, operation, exactly, said = RIGHTS[right]
    pattern = ResourcePatternType.PREFIXED if kind is TRANSACTIONS else ResourcePatternType.LITERAL
    whom: tuple[Any, ...] = (kind, names[name], pattern, "User:alice", "*")
    alice: dict[str, Any] = {
        "brokers": [own_kafka.sasl], "sasl": Sasl(username="alice", password="wonder"), "request_timeout": 5.0
    }  # fmt: skip

    async def test() -> None:
        out = own_sides.output(names["target"], transactions=exactly, **alice)
        inp = own_sides.input(names["source"], out if exactly else None, **alice)
        async with copying(inp, out) as copier:
            await asyncio.to_thread(own_kafka.write, names["source"], values(0, 100), values(0, 100))
            await copier.copies(100)
            own_kafka.allow(AclBinding(*whom, operation, AclPermissionType.DENY))
            await asyncio.to_thread(own_kafka.write, names["source"], values(100, 300), values(100, 300))
            await copier.waits(said)
            own_kafka.forget(AclBindingFilter(*whom, AclOperation.ANY, AclPermissionType.ANY))
            await copier.copies(300)
        assert copier.dead() == {}

    run(test)
    found = sorted(int(value or b"") for _, value, _ in own_kafka.read(names["target"]))
    if exactly or name == "target":  # what was refused was not written
        assert found == list(range(300))
    else:
        assert set(found) == set(range(300))
        assert len(found) <= 300 + 200
    assert sum(own_kafka.committed(names["pipeline"], names["source"], 2)) == 300
