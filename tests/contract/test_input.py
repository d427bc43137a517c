"""What every input does, see `gateway.core.stream.Input`. A new one is one more name, and a fixture of that name."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from contract.stands import InputStands, Reader, cancelled, connected, run

from gateway.core.stream import Credit, Fenced

INPUTS = [
    "memory_input",
    "kafka_input",
    "files_input",
    "rabbitmq_input",
    "redis_input",
    "postgresql_input",
    "mariadb_input",
    "sqlite_input",
]


@pytest.fixture(params=INPUTS)
def stands(request: pytest.FixtureRequest) -> InputStands:
    found: InputStands = request.getfixturevalue(request.param)
    return found


def test_gives_what_was_put_in_order_and_nothing_twice(stands: InputStands) -> None:
    async def test() -> None:
        async with stands() as stand, connected(stand.open()) as connector:
            await stand.put(range(100))
            reader = Reader(connector)
            assert await reader.all(100) == list(range(100))
            assert len(set(reader.ids)) == 100
            assert len({token.lane for token in reader.tokens}) == 1
            await reader.ack_all()
            await reader.nothing()

    run(test)


def test_waits_for_records(stands: InputStands) -> None:
    async def test() -> None:
        async with stands() as stand, connected(stand.open()) as connector:
            reader = Reader(connector)
            waiting = asyncio.ensure_future(reader.all(3))
            await reader_is_waiting(waiting)
            await stand.put([1, 2, 3])
            assert await waiting == [1, 2, 3]

    run(test)


async def reader_is_waiting(task: asyncio.Future[list[int]]) -> None:
    done, _ = await asyncio.wait({task}, timeout=0.1)
    assert not done


def test_stays_within_the_credit(stands: InputStands) -> None:
    async def test() -> None:
        async with stands() as stand, connected(stand.open()) as connector:
            await stand.put(range(50))
            reader = Reader(connector)
            found: list[int] = []
            for rows in itertools.cycle((1, 7, 3)):
                found += await reader.next(rows)
                if len(found) >= 50:
                    break
            assert found == list(range(50))

    run(test)


def test_stops_after_the_record_that_exceeds_the_credit_in_bytes(stands: InputStands) -> None:
    async def test() -> None:
        async with stands() as stand, connected(stand.open()) as connector:
            await stand.put(range(5))
            reader = Reader(connector)
            # each is larger than the credit, and passes alone
            assert [await reader.next(1000, 1) for _ in range(5)] == [[n] for n in range(5)]

    run(test)


def test_what_was_not_acknowledged_comes_again(stands: InputStands) -> None:
    async def test() -> None:
        async with stands() as stand:
            first_ids = []
            async with connected(stand.open()) as connector:
                await stand.put(range(30))
                reader = Reader(connector)
                await reader.all(10)
                await reader.ack_all()
                await reader.all(20)
                first_ids = reader.ids[10:]
                redelivers, stable = connector.source.redelivers, connector.source.stable_ids
            if not redelivers:
                return
            async with connected(stand.open()) as connector:
                reader = Reader(connector)
                assert sorted(await reader.all(20)) == list(range(10, 30))
                assert not stable or sorted(reader.ids) == sorted(first_ids)
                await reader.ack_all()
                await reader.nothing()

    run(test)


def test_connecting_again_gives_again_what_was_not_acknowledged(stands: InputStands) -> None:
    async def test() -> None:
        async with stands() as stand:
            connector = stand.open()
            await stand.put(range(10))
            for _ in range(2):
                async with connected(connector):
                    reader = Reader(connector)
                    assert sorted(await reader.all(10)) == list(range(10))
                if not connector.source.redelivers:
                    return
            async with connected(connector):
                reader = Reader(connector)
                await reader.all(10)
                await reader.ack_all()
                await reader.nothing()

    run(test)


def test_so_does_connecting_over_a_connection(stands: InputStands) -> None:
    """As a runner does after a failure of the other side: nothing is closed before."""

    async def test() -> None:
        async with stands() as stand, connected(stand.open()) as connector:
            await stand.put(range(10))
            await Reader(connector).all(10)
            if not connector.source.redelivers:
                return
            await connector.connect()
            reader = Reader(connector)
            assert sorted(await reader.all(10)) == list(range(10))
            await reader.ack_all()
            await reader.nothing()

    run(test)


def test_tokens_are_acknowledged_in_order_while_others_are_read(stands: InputStands) -> None:
    async def test() -> None:
        async with stands() as stand:
            async with connected(stand.open()) as connector:
                await stand.put(range(40))
                reader = Reader(connector)
                for _ in range(4):
                    await reader.all(10, rows=5)
                    await reader.ack_all()
                await reader.nothing()
            async with connected(stand.open()) as connector:
                await Reader(connector).nothing()

    run(test)


def test_a_read_that_is_cancelled_loses_nothing(stands: InputStands) -> None:
    async def test() -> None:
        async with stands() as stand, connected(stand.open()) as connector:
            reader = Reader(connector)
            waiting = asyncio.ensure_future(connector.read(Credit(10, 1 << 20)))
            await asyncio.sleep(0)
            await cancelled(waiting)
            await stand.put(range(20))
            # cancelled while there is something to be had: at whatever point it then is
            for turns in range(6):
                waiting = asyncio.ensure_future(connector.read(Credit(1, 1 << 20)))
                for _ in range(turns):
                    await asyncio.sleep(0)
                waiting.cancel()
                for found in await asyncio.gather(waiting, return_exceptions=True):
                    if isinstance(found, tuple):
                        reader.ids.extend(found[0].ids)
            got = len(reader.ids)
            await reader.all(20 - got)
            assert len(set(reader.ids)) == 20

    run(test)


def test_closes_at_any_time_and_twice(stands: InputStands) -> None:
    async def test() -> None:
        async with stands() as stand:
            await stand.open().close()
            connector = stand.open()
            await connector.connect()
            await connector.close()
            await connector.close()

    run(test)


def test_a_token_of_an_earlier_ownership_is_refused(stands: InputStands) -> None:
    async def test() -> None:
        async with stands() as stand:
            await stand.put(range(5))
            old, new = stand.open(), stand.open()
            async with connected(old), connected(new):
                if not old.source.ordered:
                    pytest.skip("several may read it at the same time")
                stale = Reader(old)
                await stale.all(5)
                fresh = Reader(new)
                await fresh.all(5)
                with pytest.raises(Fenced):
                    await old.ack(stale.tokens[0])
                await fresh.ack_all()

    run(test)
