"""How gateways hear of each other."""

import asyncio
from pathlib import Path

import pytest
from servers.postgresql import Databases, PostgreSQL
from servers.proxy import Proxy

from gateway.core.errors import Unavailable
from gateway.store.contract import Act
from gateway.store.postgresql.store import PostgresqlStore

ACT = Act("ann", "here", "test", "m")


def nothing() -> None:
    """Hears nothing."""


def test_a_change_and_what_is_said_of_it_are_news(postgresql_database: str) -> None:
    async def go() -> None:
        heard = asyncio.Event()
        async with (
            PostgresqlStore(postgresql_database, None, "a") as a,
            PostgresqlStore(postgresql_database, None, "b") as b,
            a.channel(nothing) as of_a,
            b.channel(heard.set) as of_b,
        ):
            assert await of_a.tell(0, {}) == await of_b.tell(0, {}) == 0
            # its own words come back too, and end what came before them
            await heard.wait()
            await of_b.tell(0, {"m": "soon"})
            heard.clear()
            await a.change(0, lambda state: state, ACT)
            async with asyncio.timeout(10):
                await heard.wait()
            assert await of_b.tell(0, {"m": "no such file"}) == 1
            seen = await a.machines()
            assert [(m.name, m.revision, m.live) for m in seen] == [("a", 0, True), ("b", 0, True)]
            assert seen[1].troubles == {"m": "no such file"}
            assert 0 <= seen[1].silence < 10
            await of_b.leave()
            assert [m.name for m in await a.machines()] == ["a"]

    asyncio.run(go())


def test_who_says_nothing_counts_as_dead(postgresql: Databases, postgresql_database: str) -> None:
    async def go() -> None:
        async with PostgresqlStore(postgresql_database, None, "a") as a, a.channel(nothing) as channel:
            await channel.tell(0, {})
            postgresql.sql("UPDATE sluice.machines SET seen = seen - interval '11 s'", postgresql_database)
            (machine,) = await a.machines()
            assert not machine.live
            assert machine.silence > 10
            await channel.tell(0, {})
            assert (await a.machines())[0].live
            postgresql.sql("UPDATE sluice.machines SET seen = seen - interval '2 h'", postgresql_database)
            async with PostgresqlStore(postgresql_database, None, "b") as b, b.channel(nothing):
                assert await b.machines() == []

    asyncio.run(go())


def test_who_starts_again_in_the_same_folder_takes_its_own_place(postgresql_database: str, tmp_path: Path) -> None:
    async def go() -> None:
        for turn in range(3):
            async with PostgresqlStore(postgresql_database, tmp_path / "a", "a") as a, a.channel(nothing) as channel:
                await channel.tell(turn, {})
                assert [(m.name, m.revision) for m in await a.machines()] == [("a", turn)]
        async with PostgresqlStore(postgresql_database, tmp_path / "b", "a") as b, b.channel(nothing) as channel:
            await channel.tell(7, {})
            assert sorted(m.revision for m in await b.machines()) == [2, 7]

    asyncio.run(go())


def test_a_channel_that_was_cut_says_so(postgresql_database: str) -> None:
    async def go() -> None:
        async with Proxy(postgresql_database) as proxy, PostgresqlStore(proxy.url, None, "a") as a:
            heard = asyncio.Event()
            async with a.channel(heard.set) as channel:
                await channel.tell(0, {})
                await heard.wait()
                heard.clear()
                proxy.close_all()
                await heard.wait()
                with pytest.raises(Unavailable):
                    await channel.tell(0, {})
            async with a.channel(nothing) as channel:
                await channel.tell(0, {})

    asyncio.run(go())


def test_a_channel_to_a_server_that_stands_still(own_postgresql: PostgreSQL) -> None:
    async def go() -> None:
        async with PostgresqlStore(own_postgresql.database(), None, "a") as a:
            async with a.channel(nothing) as channel:
                await channel.tell(0, {})
                own_postgresql.pause()
                with pytest.raises(Unavailable, match="no answer within"):
                    await channel.tell(0, {})
            own_postgresql.resume()
            async with a.channel(nothing) as channel:
                await channel.tell(0, {})

    asyncio.run(go())
