"""Exactly once: what a crash, a stopped owner and a lost answer leave behind."""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import ExitStack
from subprocess import Popen, TimeoutExpired
from typing import TYPE_CHECKING

import pytest
from contract.stands import connected, run
from kafka_member import member, running
from kafka_sides import Sides
from servers.server import until as waited_for

from adapters.kafka.position import Position
from gateway.core.stream import Batch, Credit, Fenced, Message, OutcomeUnknown, Rows, Token, Transient

if TYPE_CHECKING:
    from servers.kafka import Kafka, Topics


def rows(values: list[bytes], token: Token) -> Rows:
    return Rows(Batch.of([Message(str(n), value) for n, value in enumerate(values)]), token)


def token(sides: Sides, source: str, epoch: int, offset: int) -> Token:
    position = Position(sides.pipeline, source, 0, offset, 1)
    return Token(position.lane, epoch, position)


def values(topics: Topics, topic: str) -> list[bytes | None]:
    return [value for _, value, _ in topics.read(topic)]


def test_results_and_offsets_are_one(kafka: Topics, sides: Sides) -> None:
    source, target = kafka.create(), kafka.create()

    async def test() -> None:
        async with connected(sides.output(target, transactions=True)) as output:
            epoch, stored = await output.take_over(f"{source}/0")
            assert stored is None
            await output.write(rows([b"1", b"2"], token(sides, source, epoch, 2)))
            assert kafka.committed(sides.pipeline, source) == [2]
            await output.write(rows([], token(sides, source, epoch, 5)))
            assert kafka.committed(sides.pipeline, source) == [5]

    run(test)
    assert values(kafka, target) == [b"1", b"2"]
    kafka.delete(source, target)


def test_who_takes_over_fences_the_old_owner_and_ends_its_transaction(kafka: Topics, sides: Sides) -> None:
    source, target = kafka.create(), kafka.create()
    lane = f"{source}/0"

    async def test() -> None:
        old, new = (sides.output(target, transactions=True) for _ in range(2))
        async with connected(old), connected(new):
            mine, _ = await old.take_over(lane)
            await old.write(rows([b"1"], token(sides, source, mine, 1)))
            # stopped where only the end of its transaction is missing
            producer = old._lanes[lane]._producer.kafka
            commit, arrived, go = producer.commit_transaction, asyncio.Event(), asyncio.Event()

            async def late() -> None:
                arrived.set()
                await go.wait()
                await commit()

            producer.commit_transaction = late
            stopped = asyncio.ensure_future(old.write(rows([b"lost"], token(sides, source, mine, 2))))
            await arrived.wait()
            theirs, _ = await new.take_over(lane)
            assert kafka.committed(sides.pipeline, source) == [1]
            await new.write(rows([b"2"], token(sides, source, theirs, 2)))
            go.set()
            with pytest.raises(Fenced):
                await stopped
            with pytest.raises(Fenced):
                await old.write(rows([b"3"], token(sides, source, mine, 3)))
            with pytest.raises(Fenced):
                await old.write(rows([b"3"], token(sides, source, mine, 3)))
            await new.write(rows([b"3"], token(sides, source, theirs, 3)))

    run(test)
    assert values(kafka, target) == [b"1", b"2", b"3"]
    assert kafka.committed(sides.pipeline, source) == [3]
    kafka.delete(source, target)


def test_an_earlier_epoch_of_the_same_process_is_refused(kafka: Topics, sides: Sides) -> None:
    source, target = kafka.create(), kafka.create()

    async def test() -> None:
        async with connected(sides.output(target, transactions=True)) as output:
            first, _ = await output.take_over(f"{source}/0")
            second, _ = await output.take_over(f"{source}/0")
            assert second > first
            with pytest.raises(Fenced):
                await output.write(rows([b"1"], token(sides, source, first, 1)))
            await output.release(f"{source}/0")
            with pytest.raises(Fenced):
                await output.write(rows([b"1"], token(sides, source, second, 1)))

    run(test)
    assert values(kafka, target) == []
    kafka.delete(source, target)


def test_a_commit_without_an_answer_is_unknown_and_the_offset_tells(own_kafka: Kafka, own_sides: Sides) -> None:
    """The broker stops when the commit is sent. Whatever became of it, going on from the offset repeats nothing."""
    source, target = own_kafka.create(), own_kafka.create()
    own_kafka.write(source, [b"1", b"2", b"3"])

    async def test() -> None:
        output = own_sides.output(target, transactions=True, request_timeout=2.0)
        connector = own_sides.input(source, output, request_timeout=10.0)
        async with connected(output), connected(connector):
            found = await connector.read(Credit(2, 1 << 20))
            assert found is not None
            producer = output._lanes[f"{source}/0"]._producer.kafka
            commit = producer.commit_transaction

            async def silent() -> None:
                own_kafka.pause()
                await commit()

            producer.commit_transaction = silent
            try:
                with pytest.raises(OutcomeUnknown):
                    await output.write(Rows(*found))
            finally:
                own_kafka.resume()
            with pytest.raises(Fenced):
                await output.write(Rows(*found))
            got: list[bytes | None] = []
            while (own_kafka.committed(own_sides.pipeline, source) or [0])[0] < 3:
                try:
                    await output.connect()
                    await connector.connect()
                    async with asyncio.timeout(10):
                        again = await connector.read(Credit(10, 1 << 20))
                    assert again is not None
                    await output.write(Rows(*again))
                    got += again[0].values
                except Transient:
                    await asyncio.sleep(0.1)

    run(test)
    assert values(own_kafka, target) == [b"1", b"2", b"3"]
    own_kafka.delete(source, target)


def _complete(topics: Topics, source: str, target: str, sides: Sides, count: int) -> None:
    """A last member does what is left. Each record is there once then, in its partition, in order."""
    with member(topics.address, source, target, sides.pipeline, exactly=True):
        waited_for(lambda: sum(topics.committed(sides.pipeline, source, 4)) >= count, 60)
    assert topics.read(target) == topics.read(source)


def test_nothing_is_lost_or_repeated_by_kill_9(kafka: Topics, sides: Sides) -> None:
    source, target = kafka.create(4), kafka.create(4)
    count = 3000
    kafka.write(source, [b"%d" % n for n in range(count)], [b"k%d" % (n % 97) for n in range(count)])
    for pause in (0.0, 0.07, 0.02):
        with member(kafka.address, source, target, sides.pipeline, exactly=True) as process:
            running(process)
            with pytest.raises(TimeoutExpired):
                process.wait(pause)
            process.kill()
    _complete(kafka, source, target, sides, count)
    kafka.delete(source, target)


class Load:
    """Writes records from a thread, until it is left."""

    def __init__(self, topics: Topics, topic: str) -> None:
        self._topics, self._topic = topics, topic
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.written = 0

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            numbers = range(self.written, self.written + 20)
            self._topics.write(self._topic, [b"%d" % n for n in numbers], [b"k%d" % (n % 97) for n in numbers])
            self.written += 20

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def test_members_come_and_go_under_load(kafka: Topics, sides: Sides) -> None:
    """Three members; one is killed, one is stopped for longer than its session and goes on, one drains."""
    source, target = kafka.create(4), kafka.create(4)

    def start() -> Popen[str]:
        return members.enter_context(member(kafka.address, source, target, sides.pipeline, exactly=True))

    with Load(kafka, source) as load, ExitStack() as members:
        first = start()
        running(first)
        second = start()
        running(second)
        second.send_signal(signal.SIGSTOP)
        done = len(kafka.messages(target))
        third = start()
        running(third)  # the second's session is over
        waited_for(lambda: len(kafka.messages(target)) > done + 100)
        second.send_signal(signal.SIGCONT)
        third.kill()
        first.terminate()
        assert first.wait(30) == 0
        done = len(kafka.messages(target))
        waited_for(lambda: len(kafka.messages(target)) > done + 100)
        second.terminate()
        assert second.wait(30) == 0
    _complete(kafka, source, target, sides, load.written)
    kafka.delete(source, target)
