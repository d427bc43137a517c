from __future__ import annotations

import asyncio

import pytest

from adapters import memory
from gateway.core import letter
from gateway.core.stream import Batch, Context, DeadLetter, Message
from gateway.pipeline.policy import Policy
from gateway.pipeline.redrive import Redriver
from gateway.pipeline.runner import Runner

RECORD = Message("in/7", b"\xff\x00", b"key", (("traceparent", b"00-1"), ("h", b"\xfe")), 1_700_000_000_000)


@pytest.fixture(autouse=True)
def _topics() -> None:
    for name in ("letters", "in", "dead"):
        memory.forget(name)


def redrive() -> Runner:
    source = memory.MemoryInput(memory.MemorySource(topic="letters", ends=True), Context("redrive"))
    assert memory.adapter.redrive is not None
    back = memory.adapter.redrive.open(memory.MemorySource(topic="in"), Context("redrive"))
    dead = memory.MemoryOutput(memory.MemorySink(topic="dead"), Context("redrive"))
    return Runner("redrive", source, back, dead, Redriver(), Policy())


def put(*letters: DeadLetter) -> None:
    memory.topic("letters").put(Message(found.message.id, letter.encode(found)) for found in letters)


def test_the_record_comes_back_as_it_was_and_knows_how_often_it_failed() -> None:
    put(DeadLetter(RECORD, "no such field", "in/0", "8", attempts=2))
    asyncio.run(redrive().run())
    (found,) = memory.topic("in").messages()
    assert (found.id, found.value, found.key, found.timestamp) == (
        RECORD.id,
        RECORD.value,
        RECORD.key,
        RECORD.timestamp,
    )
    assert found.headers == (*RECORD.headers, ("sluice-attempts", b"2"))


def test_a_count_of_before_is_replaced() -> None:
    once = Message("1", b"x", headers=(("sluice-attempts", b"1"), ("sluice-version", b"3")))
    put(DeadLetter(once, "r", "l", "", attempts=2))
    asyncio.run(redrive().run())
    (found,) = memory.topic("in").messages()
    assert found.headers == (("sluice-attempts", b"2"),)


def test_what_is_no_letter_is_kept_and_keeps_nothing_else_from_going() -> None:
    put(DeadLetter(Message("a", b"1"), "r", "l", ""))
    memory.topic("letters").put([Message("b", b"{nonsense"), Message("c", None)])
    put(DeadLetter(Message("d", None), "a tombstone", "l", ""))
    runner = redrive()
    asyncio.run(runner.run())
    assert [(m.id, m.value) for m in memory.topic("in").messages()] == [("a", b"1"), ("d", None)]
    kept = {m.id: letter.decode(m.value or b"") for m in memory.topic("dead").messages()}
    assert kept["b"].message.value == b"{nonsense"
    assert "no dead letter" in kept["b"].reason
    assert "tombstone" in kept["c"].reason
    assert runner.status().state == "finished"


def test_faults_of_the_source_are_told() -> None:
    scored = asyncio.run(Redriver().score(Batch(["1"], [b"{}"], faults={0: "cut off"})))
    assert scored.errors == {0: "cut off"}
