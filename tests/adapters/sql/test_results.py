"""Results of other systems' records: replaced by id, appended, and with the source's position beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sql_database import Database

from gateway.core import letter
from gateway.core.errors import InvalidArgument
from gateway.core.stream import (
    Batch,
    Context,
    Credit,
    DataError,
    DeadLetter,
    Delivery,
    Fenced,
    Message,
    Rows,
    Source,
    Token,
    Transient,
    guarantee,
)
from gateway.core.table import Table

KAFKA = Source("kafka", positions=True, stable_ids=True)
TOKEN = Token("t/0", 1, 17)


def rows(ids: Sequence[str], token: Token = TOKEN, keys: Sequence[bytes | None] = (), **columns: Any) -> Rows:
    return Rows(Batch(ids, Table(tuple(columns), list(columns.values())), keys), token)


def scores(database: Database) -> None:
    database.sql(
        f"CREATE TABLE scores (record varchar(50) PRIMARY KEY, customer varchar(20), score {database.double}, "
        f"version int, CHECK (score < 900))"
    )


def numbers(database: Database) -> list[tuple[str, float]]:
    return [(record, float(score)) for record, score in database.sql("SELECT record, score FROM scores ORDER BY 1")]


def test_a_repeat_replaces_its_own_row(database: Database) -> None:
    scores(database)

    async def go() -> None:
        sink = database.output("results", table="scores", id="record", key="customer")
        assert guarantee(Source("queue", stable_ids=True), sink.sink).delivery is Delivery.EXACTLY_ONCE
        await sink.connect()
        await sink.write(rows(["a", "b"], keys=[b"ann", None], score=[1.0, 2.0]))
        await sink.write(rows(["b", "c", "c"], keys=[b"bob", b"cy", b"cy"], score=[3.0, 4.0, 5.0]))
        await sink.close()

    asyncio.run(go())
    assert numbers(database) == [("a", 1.0), ("b", 3.0), ("c", 5.0)]
    assert database.column("SELECT customer FROM scores ORDER BY record") == ["ann", "bob", "cy"]


def test_many_rows_are_appended_and_one_that_is_refused_is_named(database: Database) -> None:
    scores(database)

    async def go() -> None:
        sink = database.output("insert", table="scores", id="record")
        assert guarantee(Source("queue"), sink.sink).delivery is Delivery.AT_LEAST_ONCE
        await sink.connect()
        await sink.write(rows([f"r{i}" for i in range(3000)], score=[i / 10 for i in range(3000)]))
        with pytest.raises(DataError) as twice:
            await sink.write(rows(["x", "y", "r7", "z"], score=[1.0] * 4))
        assert twice.value.record == 2
        with pytest.raises(DataError) as large:
            await sink.write(rows(["x", "y", "z"], score=[1.0, 2.0, 901.0]))
        assert large.value.record == 2
        with pytest.raises(DataError) as wrong:
            await sink.write(rows(["x", "y"], score=[1.0, "one"]))
        assert wrong.value.record == 1
        with pytest.raises(DataError) as again:
            await sink.write(rows(["x", "y", "x"], score=[1.0] * 3))
        assert again.value.record == 2
        await sink.close()

    asyncio.run(go())
    assert database.column("SELECT count(*) FROM scores") == ["3000"]


def test_the_position_is_stored_with_the_results_and_an_old_owner_is_fenced(database: Database) -> None:
    scores(database)

    async def go() -> None:
        settings = {"table": "scores", "id": "record", "positions": "positions"}
        old, new = database.output("results", **settings), database.output("results", **settings)
        assert guarantee(KAFKA, old.sink).delivery is Delivery.EXACTLY_ONCE
        await old.connect()
        await new.connect()
        assert await old.take_over("t/0") == (1, None)
        await old.write(rows(["a"], Token("t/0", 1, 17), score=[1.0]))
        assert await new.take_over("t/0") == (2, 17)
        with pytest.raises(Fenced):
            await old.write(rows(["z"], Token("t/0", 1, 18), score=[9.0]))
        await new.write(rows(["b"], Token("t/0", 2, {"offset": 18, "leader": "ä"}), score=[2.0]))
        # of a source that nobody took over there is no position
        await new.write(rows(["c"], Token("queue", 1, object()), score=[3.0]))
        assert (await old.take_over("t/0")) == (3, {"offset": 18, "leader": "ä"})
        other = database.output("results", pipeline="q", **settings)
        await other.connect()
        assert await other.take_over("t/0") == (1, None)
        for each in (old, new, other):
            await each.close()

    asyncio.run(go())
    assert numbers(database) == [("a", 1.0), ("b", 2.0), ("c", 3.0)]


def test_dead_letters_share_the_transaction(database: Database) -> None:
    scores(database)

    async def go() -> None:
        sink = database.output("results", table="scores", id="record", dead_letters="dead")
        assert sink.sink.dead_letters
        await sink.connect()
        letter = DeadLetter(Message("x", b"\x00\xff", b"k", (("h", b"v"),)), "bro\0ken", "t/0", "16", 2)
        await sink.write(rows(["a"], score=[1.0]), [letter])
        await sink.write(rows([], score=[]), [letter])
        with pytest.raises(DataError):
            await sink.write(rows(["b"], score=[950.0]), [DeadLetter(Message("y", None), "r", "t/0", "")])
        await sink.close()

    asyncio.run(go())
    assert database.sql("SELECT pipeline, id, reason, lane, position, attempts FROM dead") == [
        ("p", "x", "broken", "t/0", "16", "2")
    ]
    assert database.column("SELECT count(*) FROM dead WHERE value IS NOT NULL AND headers LIKE '%h%'") == ["1"]


def test_encoded_bytes_go_whole_into_one_column(database: Database) -> None:
    database.sql("CREATE TABLE answers (record varchar(50) PRIMARY KEY, body varchar(100))")

    async def go() -> None:
        sink = database.output("results", table="answers", id="record", value="body")
        await sink.connect()
        await sink.write(Rows(Batch(["a", "b"], ['{"score": "ü"}'.encode(), None]), TOKEN))
        with pytest.raises(DataError) as refused:
            await sink.write(Rows(Batch(["c", "d"], [b"fine", b"\xff\xfe"]), TOKEN))
        assert refused.value.record == 1
        await sink.close()

    asyncio.run(go())
    assert database.sql("SELECT record, body FROM answers ORDER BY 1") == [("a", '{"score": "ü"}'), ("b", "")]


def test_what_is_not_there_is_named_with_the_nearest(database: Database) -> None:
    scores(database)

    async def go() -> None:
        wrong = database.output("results", table="score", id="record")
        with pytest.raises(Transient, match="no table 'score', did you mean 'scores'"):
            await wrong.connect()
        await wrong.close()
        wrong = database.output("results", table="scores", id="recrod")
        with pytest.raises(Transient, match="no column 'recrod', did you mean 'record'"):
            await wrong.connect()
        await wrong.close()
        sink = database.output("results", table="scores", id="record")
        await sink.connect()
        with pytest.raises(Transient, match="no column 'scor', did you mean 'score'"):
            await sink.write(rows(["a"], scor=[1.0]))
        await sink.close()

    asyncio.run(go())


def test_settings_that_do_not_go_together_are_refused(sqlite: Database) -> None:
    for settings, said in (
        ({"mode": "results", "table": "t"}, "match"),
        ({"mode": "insert"}, "table"),
        ({"mode": "results", "table": "t", "id": "i", "dead_letters": "d", "mark_failed": True}, "mark_failed"),
        ({"mode": "update", "positions": "p"}, "positions"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            sqlite.output(**settings)  # type: ignore[arg-type]


def test_dead_letters_are_given_back_and_taken_away(database: Database) -> None:
    scores(database)

    async def go() -> None:
        from adapters.sql import adapter

        assert adapter.letters is not None
        settings = {"table": "scores", "id": "record", "dead_letters": "dead"}
        sink = database.output("results", **settings)
        await sink.connect()
        dead = [
            DeadLetter(Message(f"x{i}", b"\x00\xff", b"k", (("h", b"v"),), 5), "it broke", "t/0", "16", 2, "m/canary")
            for i in range(5)
        ]
        await sink.write(rows([], score=[]), dead)
        back = adapter.letters(database.output_settings("results", **settings), Context("p"), True)
        await back.connect()
        first, token = await back.read(Credit(2, 1000))
        assert [letter.decode(value) for value in first.values] == dead[:2]
        rest, _ = await back.read(Credit(10, 1000))
        assert list(rest.ids) == ["x2", "x3", "x4"]
        assert await back.read(Credit(10, 1000)) is None
        await back.ack(token)
        await back.close()
        await sink.close()

    asyncio.run(go())
    assert database.column("SELECT id FROM dead ORDER BY id") == ["x2", "x3", "x4"]


def test_the_row_that_is_refused_is_named_though_others_were_there_twice(database: Database) -> None:
    scores(database)

    async def go() -> None:
        sink = database.output("results", table="scores", id="record")
        await sink.connect()
        with pytest.raises(DataError) as wrong:
            await sink.write(rows(["a", "a", "b", "c"], score=[1.0, 2.0, 3.0, "four"]))
        assert wrong.value.record == 3
        with pytest.raises(DataError) as large:
            await sink.write(rows(["a", "a", "b", "c", "d"], score=[1.0, 2.0, 3.0, 950.0, 4.0]))
        assert large.value.record == 3
        await sink.close()

    asyncio.run(go())
