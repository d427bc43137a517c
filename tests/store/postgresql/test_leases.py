from __future__ import annotations

import asyncio

from servers.postgresql import Databases

from gateway.store.postgresql.leases import SCHEMA, PostgresqlLeases


def test_one_has_it_until_it_runs_out_and_epochs_grow(postgresql: Databases, postgresql_database: str) -> None:
    async def go() -> None:
        url = postgresql_database
        async with PostgresqlLeases.open(url, "a") as a, PostgresqlLeases.open(url, "b") as b:
            both = await asyncio.gather(*(leases.acquire("s", "ab"[i % 2], 60) for i, leases in enumerate([a, b] * 4)))
            assert sorted(map(str, both)) == ["1", *["None"] * 7]
            held = await a.holder("s")
            assert held is not None
            assert 50 < held.left <= 60
            first = held.owner
            assert await a.renew("s", first, 1, 60)
            await asyncio.to_thread(
                postgresql.sql, f"UPDATE {SCHEMA}.leases SET until = clock_timestamp() RETURNING 1", url
            )
            assert await b.acquire("s", "c", 60) == 2
            assert not await a.renew("s", first, 1, 60)
            await a.release("s", first, 1)
            assert await a.acquire("s", "a", 60) is None
            await b.release("s", "c", 2)
            assert await a.acquire("s", "a", 60) == 3
            assert await a.holder("none") is None

    asyncio.run(go())
