"""What every output does, see `gateway.core.stream.Output`. A new one is one more name, and a fixture of that name."""

from __future__ import annotations

import pytest
from contract.stands import OutputStands, connected, rows, run

from gateway.core.stream import Ability, DeadLetter, Fenced, Message, Token

OUTPUTS = [
    "memory_plain",
    "memory_idempotent",
    "memory_stores_offsets",
    "memory_transactional",
    "kafka_plain",
    "kafka_transactional",
    "files_output",
    "rabbitmq_output",
    "redis_plain",
    "redis_transactional",
    "postgresql_results",
    "mariadb_results",
    "sqlite_results",
    "postgresql_insert",
    "mariadb_insert",
    "sqlite_insert",
]


@pytest.fixture(params=OUTPUTS)
def stands(request: pytest.FixtureRequest) -> OutputStands:
    found: OutputStands = request.getfixturevalue(request.param)
    return found


def letters(*numbers: int) -> list[DeadLetter]:
    return [
        DeadLetter(Message(f"dead-{number}", b"\xff broken"), "it is broken", "lane", "17", 2) for number in numbers
    ]


def test_what_was_written_is_there_in_order(stands: OutputStands) -> None:
    async def test() -> None:
        async with stands() as stand:
            async with connected(stand.open()) as output:
                for first in range(0, 60, 20):
                    await output.write(rows(range(first, first + 20), await stand.source()))
                    assert await stand.numbers() == list(range(first + 20))
            assert await stand.numbers() == list(range(60))

    run(test)


def test_connecting_over_a_connection(stands: OutputStands) -> None:
    """As a runner does after a failure: nothing is closed before."""

    async def test() -> None:
        async with stands() as stand, connected(stand.open()) as output:
            await output.write(rows([1, 2], await stand.source()))
            await output.connect()
            await output.write(rows([3], await stand.source()))
            assert await stand.numbers() == [1, 2, 3]

    run(test)


def test_a_large_batch_and_one_record(stands: OutputStands) -> None:
    async def test() -> None:
        async with stands() as stand, connected(stand.open()) as output:
            await output.write(rows(range(3000), await stand.source()))
            await output.write(rows([3000], await stand.source()))
            assert await stand.numbers() == list(range(3001))

    run(test)


def test_a_batch_without_rows_moves_the_position(stands: OutputStands) -> None:
    async def test() -> None:
        async with stands() as stand, connected(stand.open()) as output:
            if not output.sink.abilities & {Ability.TRANSACTIONAL, Ability.STORES_OFFSETS}:
                return
            await output.write(rows([], await stand.source()))
            await output.write(rows([1], await stand.source()))
            assert await stand.numbers() == [1]

    run(test)


def test_a_repeat_replaces_itself(stands: OutputStands) -> None:
    async def test() -> None:
        async with stands() as stand:
            for _ in range(2):
                async with connected(stand.open()) as output:
                    if Ability.IDEMPOTENT not in output.sink.abilities:
                        return
                    await output.write(rows(range(10), await stand.source()))
            assert sorted(await stand.numbers()) == list(range(10))

    run(test)


def test_stores_the_position_with_the_results(stands: OutputStands) -> None:
    async def test() -> None:
        async with stands() as stand:
            async with connected(stand.open()) as output:
                if Ability.STORES_OFFSETS not in output.sink.abilities:
                    return
                lane = (await stand.source()).lane
                epoch, _ = await output.take_over(lane)
                where = (await stand.source()).position
                await output.write(rows([1, 2], Token(lane, epoch, where)))
            async with connected(stand.open()) as output:
                again, position = await output.take_over(lane)
                assert again > epoch
                assert position == where

    run(test)


def test_who_was_fenced_writes_nothing(stands: OutputStands) -> None:
    async def test() -> None:
        async with stands() as stand, connected(stand.open()) as old, connected(stand.open()) as new:
            if Ability.STORES_OFFSETS not in old.sink.abilities:
                return
            lane = (await stand.source()).lane
            epoch, _ = await old.take_over(lane)
            await old.write(rows([1], Token(lane, epoch, (await stand.source()).position)))
            other, _ = await new.take_over(lane)
            with pytest.raises(Fenced):
                await old.write(rows([2], Token(lane, epoch, (await stand.source()).position)))
            await new.write(rows([3], Token(lane, other, (await stand.source()).position)))
            assert await stand.numbers() == [1, 3]

    run(test)


def test_dead_letters_share_the_write(stands: OutputStands) -> None:
    async def test() -> None:
        async with stands() as stand, connected(stand.open()) as output:
            if not output.sink.dead_letters:
                return
            await output.write(rows([1], await stand.source()), letters(7, 8))
            await output.write(rows([], await stand.source()), letters(9))
            assert await stand.numbers() == [1]
            assert sorted(await stand.letters()) == ["dead-7", "dead-8", "dead-9"]

    run(test)


def test_a_repeated_dead_letter_replaces_itself_too(stands: OutputStands) -> None:
    async def test() -> None:
        async with stands() as stand, connected(stand.open()) as output:
            if not output.sink.dead_letters or Ability.IDEMPOTENT not in output.sink.abilities:
                return
            for _ in range(2):
                await output.write(rows([1], await stand.source()), letters(7, 8))
            assert sorted(await stand.letters()) == ["dead-7", "dead-8"]

    run(test)


def test_dead_letters_alone_store_no_position(stands: OutputStands) -> None:
    """An output that is used for dead letters, see `Output.write`."""

    async def test() -> None:
        async with stands() as stand, connected(stand.open()) as output:
            source = await stand.source()
            await output.write(rows([5], Token(source.lane, source.epoch)))
            assert await stand.numbers() == [5]

    run(test)


def test_closes_at_any_time_and_twice(stands: OutputStands) -> None:
    async def test() -> None:
        async with stands() as stand:
            await stand.open().close()
            output = stand.open()
            await output.connect()
            await output.close()
            await output.close()

    run(test)
