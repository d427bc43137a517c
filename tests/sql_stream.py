"""A stream from a table to a table, run by the real runner in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from types import TracebackType
from typing import Any

from sql_database import Database, column

from gateway.core.stream import Batch
from gateway.core.table import Table
from gateway.pipeline.policy import Backoff, Breaker, Errors, Policy
from gateway.pipeline.runner import Runner
from gateway.pipeline.scoring.scored import Scored
from gateway.pipeline.status import Status


class Tens:
    """Scores x as 10 x; what is no number is at fault. After so many batches, 0 for all, it waits to be opened."""

    answers = "tens"

    def __init__(self, batches: int = 0) -> None:
        self.left = batches or 1_000_000
        self.open = asyncio.Event()

    async def score(self, batch: Batch) -> Scored:
        self.left -= 1
        if self.left < 0:
            await self.open.wait()
        good, values, errors = [], [], {}
        for row, value in enumerate(column(batch, "x")):
            if isinstance(value, (int, float, Decimal)):
                good.append(row)
                values.append(10.0 * float(value))
            else:
                errors[row] = f"x: {value!r} is no number"
        kept = batch.take(good)
        ids = [int(name) for name in kept.ids]
        return Scored(Batch(kept.ids, Table(("id", "score"), [ids, values]), kept.keys), good, errors)


class Stream:
    """From `claims` to `scores`, where a record that is written twice is there twice; ten rows a batch."""

    def __init__(
        self,
        database: Database,
        of: Mapping[str, Any] | None = None,
        into: Mapping[str, Any] | None = None,
        held: int = 0,
    ) -> None:
        """`of` and `into` are more settings of the input and of the output; after `held` batches the model waits."""
        mode = "lease" if database.system == "sqlite" else "claim"
        source = database.input(
            **{"mode": mode, "rows": 10, "lease": {"seconds": 3}, "status": {"reason": "reason"}, **(of or {})}
        )
        sink = database.output(**{"mode": "insert", "table": "scores", "mark_failed": True, **(into or {})})
        errors = Errors(backoff=Backoff(initial=0.02, longest=0.2), breaker=Breaker(share=1), settle=2)
        self._database = database
        self.model = Tens(held)
        self.runner = Runner("p", source, sink, None, self.model, Policy(errors=errors, drain=10))
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Stream:
        self._running = asyncio.create_task(self.runner.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.model.open.set()
        self.runner.drain()
        assert self._running is not None
        await self._running

    @property
    def status(self) -> Status:
        return self.runner.status()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(30):
                while not condition():
                    assert self._running is not None
                    assert not self._running.done(), self.status
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{what} did not happen; {self.status}") from None

    async def sql(self, statement: str) -> None:
        """It goes on meanwhile: it may hold what this waits for."""
        await asyncio.to_thread(self._database.sql, statement)

    async def held(self) -> None:
        """Until two batches are at the model, and all before them are acknowledged."""
        await self.until(lambda: self.model.left == -2 and self.status.in_flight == 20, "two batches at the model")

    async def acknowledged(self, rows: int) -> None:
        await self.until(lambda: self.status.acknowledged >= rows, f"the acknowledgement of {rows} rows")

    async def waits(self, *words: str) -> str:
        """Until it waits for something whose message has these words; returns the message."""

        def said() -> bool:
            return self.status.state == "waiting" and all(word in self.status.reason for word in words)

        await self.until(said, f"waiting for {words}")
        return self.status.reason


def tables(database: Database, rows: int) -> None:
    database.claims(rows)
    database.sql(f"CREATE TABLE scores (id bigint, score {database.double})")


def scored(database: Database) -> Sequence[tuple[str, ...]]:
    """Each row of scores, by number: nothing but 10 x."""
    assert database.column("SELECT count(*) FROM scores WHERE score <> 10 * id") == ["0"]
    return database.sql("SELECT id FROM scores ORDER BY id")


def complete(database: Database, rows: int, but: Sequence[int] = ()) -> bool:
    """Each row was scored once, and is marked, but for those that failed."""
    good = [(str(n),) for n in range(1, rows + 1) if n not in but]
    failed = database.sql("SELECT id FROM claims WHERE status = 'failed' AND reason IS NOT NULL ORDER BY id")
    assert scored(database) == good
    assert failed == [(str(n),) for n in but]
    return database.column("SELECT count(*) FROM claims WHERE status = 'done'") == [str(len(good))]
