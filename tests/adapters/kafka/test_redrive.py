"""Dead letters go back to where their records were read, and are read from where they were written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contract.stands import connected, run

from adapters.kafka import adapter
from adapters.kafka.settings import KafkaSink, KafkaSource
from gateway.core.stream import Batch, Context, Credit, DataError, DeadLetter, Message, Rows, Token

if TYPE_CHECKING:
    from kafka_sides import Sides
    from servers.kafka import Topics


def rows(*messages: Message) -> Rows:
    return Rows(Batch.of(messages), Token("dead", 1))


def test_back_to_topic_and_partition_with_key_and_headers(kafka: Topics, sides: Sides) -> None:
    first, second = kafka.create(3), kafka.create()

    async def test() -> None:
        assert adapter.redrive is not None
        settings = KafkaSource(brokers=[kafka.address], topics=[first, second])
        async with connected(adapter.redrive.open(settings, Context("p"))) as output:
            await output.write(
                rows(
                    Message(f"{first}/2/17", b"1", b"k", (("h", b"x"), ("sluice-attempts", b"2"))),
                    Message(f"{second}/0/3", None, b"k"),
                )
            )
            for wrong in ("t-other/0/1", "17", "a/b/c"):
                with pytest.raises(DataError, match=f"'{wrong}'") as caught:
                    await output.write(rows(Message(f"{first}/0/1", b"never"), Message(wrong, b"never")))
                assert caught.value.record == 1

    run(test)
    (found,) = kafka.messages(first)
    assert (found.partition(), found.key(), found.value()) == (2, b"k", b"1")
    assert found.headers() == [("h", b"x"), ("sluice-attempts", b"2")]
    assert kafka.read(second) == [(b"k", None, [])]
    kafka.delete(first, second)


@pytest.mark.parametrize("kept", [True, False])
def test_letters_are_given_once_and_then_there_are_none(kafka: Topics, sides: Sides, kept: bool) -> None:
    """`kept`: in the output's transaction; else the topic is an output of its own."""
    topic, source, dead = kafka.create(), kafka.create(), kafka.create()
    settings = KafkaSink(brokers=[kafka.address], topic=topic if kept else dead, dead_letters=dead if kept else "")

    async def test() -> None:
        assert adapter.output is not None
        assert adapter.letters is not None
        async with connected(adapter.output.open(settings, Context("p"))) as output:
            if kept:
                from adapters.kafka.position import Position

                position = Position("p", source, 0, 1, 1)
                epoch, _ = await output.take_over(position.lane)
                letters = [DeadLetter(Message("a", b"\xff"), "broken", position.lane, "1")]
                await output.write(Rows(Batch((), ()), Token(position.lane, epoch, position)), letters)
            else:
                await output.write(rows(Message("a", b"letter")))
        for expected in (1, 0):
            async with connected(adapter.letters(settings, Context("p"), kept)) as letters_:
                count = 0
                while (found := await letters_.read(Credit(10, 1 << 20))) is not None:
                    count += len(found[0])
                    await letters_.ack(found[1])
                assert count == expected

    run(test)
    kafka.delete(topic, source, dead)
