"""Where a worker is held."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chaos.gate import Gate


def test_it_holds_the_first_that_comes_until_it_is_opened(tmp_path: Path) -> None:
    theirs, ours = Gate(tmp_path, "g"), Gate(tmp_path, "g")
    done: list[int] = []

    async def come(number: int) -> None:
        async with theirs.through():
            done.append(number)

    async def test() -> None:
        await come(0)  # it is open
        assert not ours.passed(0)
        ours.close()
        first = asyncio.create_task(come(1))
        assert await asyncio.to_thread(ours.holds, 10)
        await come(2)
        assert done == [0, 2]
        assert not ours.passed(0)
        ours.open()
        await first
        assert done == [0, 2, 1]
        assert ours.passed(0)

    asyncio.run(test())
