from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from gateway.store.sqlite.leases import FILE, SqliteLeases


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[SqliteLeases, SqliteLeases]]:
    """As two processes have them."""
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(SqliteLeases.open(folder)),
            await stack.enter_async_context(SqliteLeases.open(folder)),
        )


def expire(folder: Path) -> None:
    with sqlite3.connect(folder / FILE, isolation_level=None) as db:
        db.execute("UPDATE leases SET until = 0")
    db.close()


def test_one_has_it_until_it_runs_out_and_epochs_grow(tmp_path: Path) -> None:
    async def main() -> None:
        async with two(tmp_path / "new") as (a, b):
            assert await a.acquire("s", "a", 60) == 1
            assert await b.acquire("s", "b", 60) is None
            assert await b.acquire("other", "b", 60) == 1
            assert await a.renew("s", "a", 1, 60)
            held = await b.holder("s")
            assert held is not None
            assert (held.owner, held.epoch) == ("a", 1)
            assert 50 < held.left <= 60
            expire(tmp_path / "new")
            assert await b.acquire("s", "b", 60) == 2
            assert not await a.renew("s", "a", 1, 60)
            await a.release("s", "a", 1)  # it is not a's any more
            assert await a.acquire("s", "a", 60) is None
            await b.release("s", "b", 2)
            assert await a.acquire("s", "a", 60) == 3
            assert await a.holder("none") is None

    asyncio.run(main())


def test_the_epoch_survives_who_had_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with SqliteLeases.open(tmp_path) as leases:
            assert await leases.acquire("s", "a", 60) == 1
        expire(tmp_path)
        async with SqliteLeases.open(tmp_path) as leases:
            assert await leases.acquire("s", "a", 60) == 2

    asyncio.run(main())


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with two(tmp_path) as both:
            tries = (both[i % 2].acquire("s", str(i), 60) for i in range(20))
            assert sorted(map(str, await asyncio.gather(*tries))) == ["1", *["None"] * 19]

    asyncio.run(main())


def test_nobody_else_reads_the_file(tmp_path: Path) -> None:
    async def main() -> None:
        async with SqliteLeases.open(tmp_path):
            assert (tmp_path / FILE).stat().st_mode & 0o077 == 0

    asyncio.run(main())
