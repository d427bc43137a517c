"""Rows of a claim that have no result: which they are, and what is written into them."""

from __future__ import annotations

import asyncio

import pytest
from sql_database import Database, read, results

from gateway.core.stream import (
    Batch,
    DataError,
    DeadLetter,
    Rows,
)
from gateway.core.table import Table


def test_a_row_that_the_table_refuses_is_named_and_the_rest_is_written(locking: Database) -> None:
    locking.claims(100)
    locking.sql("ALTER TABLE claims ADD CONSTRAINT small CHECK (score < 770 OR score > 779)")

    async def go() -> None:
        source, sink = locking.input(), locking.output(mark_failed=True)
        await source.connect()
        await sink.connect()
        batch, token = await read(source)
        whole = results(batch, token)
        with pytest.raises(DataError) as refused:
            await sink.write(whole)
        assert batch.ids[refused.value.record] == "77"
        bad = refused.value.record
        keep = [at for at in range(len(batch)) if at != bad]
        letter = DeadLetter(batch[bad], "too small", token.lane, str(token.position))
        await sink.write(Rows(whole.batch.take(keep), token), [letter])
        await source.ack(token)
        await source.close()
        await sink.close()

    asyncio.run(go())
    assert locking.column("SELECT count(*) FROM claims WHERE status = 'done' AND score = 10 * x") == ["99"]
    assert locking.sql("SELECT id, status, score FROM claims WHERE status <> 'done'") == [("77", "failed", "")]


def test_the_reason_of_a_dead_letter_stands_in_its_row(locking: Database) -> None:
    locking.claims(1)

    async def go() -> None:
        source = locking.input(status={"reason": "reason"})
        sink = locking.output(mark_failed=True)
        await source.connect()
        await sink.connect()
        batch, token = await read(source)
        assert "reason" not in batch.values.names  # type: ignore[attr-defined]
        empty = Rows(Batch([], Table(("score",), [[]])), token)
        await sink.write(empty, [DeadLetter(batch[0], "no such number", token.lane, "")])
        await source.ack(token)
        await source.close()
        await sink.close()

    asyncio.run(go())
    assert locking.sql("SELECT status, reason FROM claims") == [("failed", "no such number")]


def test_what_the_output_did_not_settle_has_failed_and_without_such_an_output_is_done(locking: Database) -> None:
    locking.claims(4)

    async def go() -> None:
        source, sink = locking.input(), locking.output()
        await source.connect()
        await sink.connect()
        batch, token = await read(source, 2)
        whole = results(batch, token)
        await sink.write(Rows(whole.batch.take([1]), token))
        assert locking.column("SELECT count(*) FROM claims WHERE status = 'done'") == ["0"]
        await source.ack(token)
        assert locking.column("SELECT status FROM claims WHERE id < 3 ORDER BY id") == ["failed", "done"]
        _, token = await read(source)
        await source.ack(token)
        await source.close()
        await sink.close()

    asyncio.run(go())
    assert locking.column("SELECT status FROM claims WHERE id > 2 ORDER BY id") == ["done", "done"]
