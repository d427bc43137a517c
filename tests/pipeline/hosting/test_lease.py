from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.pipeline.hosting.lease import Lease, owner
from gateway.store.sqlite.leases import FILE, SqliteLeases


def test_the_second_stands_by_and_takes_over(tmp_path: Path) -> None:
    async def main() -> None:
        async with SqliteLeases.open(tmp_path) as leases:
            first, second = Lease(leases, "s", "a", 1), Lease(leases, "s", "b", 1)
            begun, go, order = asyncio.Event(), asyncio.Event(), []

            async def work(who: str, lease: Lease) -> None:
                order.append((who, lease.epoch))
                begun.set()
                await go.wait()
                order.append((who, "done"))

            one = asyncio.create_task(first.hold(lambda: work("a", first)))
            await begun.wait()
            two = asyncio.create_task(second.hold(lambda: work("b", second)))
            # longer than the lease: it is renewed
            await asyncio.wait([one, two], timeout=1.5)
            assert order == [("a", 1)]
            assert second.epoch == 0
            go.set()
            assert await one
            assert await two
            assert order == [("a", 1), ("a", "done"), ("b", 2), ("b", "done")]

    asyncio.run(main())


def test_work_is_cut_off_when_the_lease_is_anothers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with SqliteLeases.open(tmp_path) as leases:
            lease = Lease(leases, "s", "a", 1)
            cut = asyncio.Event()

            async def work() -> None:
                with sqlite3.connect(tmp_path / FILE, isolation_level=None) as db:
                    db.execute("UPDATE leases SET owner = 'b', epoch = 7")
                db.close()
                try:
                    await asyncio.Event().wait()
                finally:
                    cut.set()

            assert not await lease.hold(work)
            assert cut.is_set()

    asyncio.run(main())
    assert "'s': the lease is lost" in caplog.text


def test_work_is_cut_off_before_the_lease_runs_out_where_the_store_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncExitStack() as store:
            lease = Lease(await store.enter_async_context(SqliteLeases.open(tmp_path)), "s", "a", 1)

            async def work() -> None:
                await store.aclose()
                await asyncio.Event().wait()

            began = asyncio.get_running_loop().time()
            assert not await lease.hold(work)
            assert asyncio.get_running_loop().time() - began < 1

    asyncio.run(main())


def test_what_the_work_raises_is_raised_and_the_lease_given_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with SqliteLeases.open(tmp_path) as leases:
            lease = Lease(leases, "s", "a", 60)

            async def work() -> None:
                raise ValueError("broken")

            with pytest.raises(ValueError, match="broken"):
                await lease.hold(work)
            assert await leases.acquire("s", "b", 60) == 2

    asyncio.run(main())


def test_every_owner_is_another_one() -> None:
    assert owner() != owner()
