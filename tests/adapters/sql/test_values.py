"""Values as columns take them, and as they come back; what cannot be held is at fault, and named."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sql_database import Database, column, opened, read

from adapters.sql.schema import Column, Kind
from adapters.sql.values import convert
from gateway.core.stream import Batch, DataError, Rows, Token
from gateway.core.table import Table

PLUS_2 = timezone(timedelta(hours=2))


def made(kind: Kind, *values: Any, **options: bool) -> list[Any]:
    return list(convert(Column("c", kind, "type", True), values, **options))


@pytest.mark.parametrize(
    ("kind", "value", "written"),
    [
        (Kind.BOOLEAN, 1, True),
        (Kind.INTEGER, True, 1),
        (Kind.INTEGER, 3.0, 3),
        (Kind.INTEGER, "-12", -12),
        (Kind.INTEGER, Decimal("-4"), -4),
        (Kind.FLOAT, 2, 2.0),
        (Kind.FLOAT, Decimal("0.5"), 0.5),
        (Kind.DECIMAL, 0.1, Decimal("0.1")),
        (Kind.DECIMAL, "12.340", Decimal("12.340")),
        (Kind.TEXT, True, "true"),
        (Kind.TEXT, 7, "7"),
        (Kind.TEXT, b"\xc3\xa9", "é"),
        (Kind.TEXT, [1, "é"], '[1, "é"]'),
        (Kind.BYTES, "é", b"\xc3\xa9"),
        (Kind.DATE, "2024-02-29", date(2024, 2, 29)),
        (Kind.DATETIME, "2024-02-29T12:00:00+02:00", datetime(2024, 2, 29, 10)),
        (Kind.DATETIME, datetime(2024, 2, 29, 12, tzinfo=PLUS_2), datetime(2024, 2, 29, 10)),
        (Kind.INSTANT, datetime(2024, 2, 29, 12), datetime(2024, 2, 29, 12, tzinfo=UTC)),
        (Kind.UUID, "00000000-0000-0000-0000-000000000001", UUID(int=1)),
        (Kind.JSON, {"a": 1}, '{"a": 1}'),
        (Kind.JSON, "[1]", "[1]"),
    ],
)
def test_a_value_that_fits_is_converted(kind: Kind, value: Any, written: Any) -> None:
    assert made(kind, None, value) == [None, written]
    assert [type(each) for each in made(kind, value)] == [type(written)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.BOOLEAN, 2),
        (Kind.BOOLEAN, "true"),
        (Kind.INTEGER, 3.5),
        (Kind.INTEGER, "3.0"),
        (Kind.INTEGER, "9" * 19),
        (Kind.INTEGER, b"3"),
        (Kind.INTEGER, 1 << 63),
        (Kind.INTEGER, math.nan),
        (Kind.INTEGER, math.inf),
        (Kind.FLOAT, "1"),
        (Kind.FLOAT, 10**400),
        (Kind.DECIMAL, "one"),
        (Kind.TEXT, "\ud800"),
        (Kind.TEXT, b"\xff"),
        (Kind.BYTES, 3.5),
        (Kind.DATE, "2024-02-30"),
        (Kind.DATE, datetime(2024, 2, 29, tzinfo=UTC)),
        (Kind.INSTANT, "yesterday"),
        (Kind.UUID, "1"),
        (Kind.JSON, "{"),
        (Kind.JSON, math.nan),
    ],
)
def test_a_value_that_does_not_fit_is_at_fault(kind: Kind, value: Any) -> None:
    with pytest.raises(DataError, match="column 'c'") as refused:
        made(kind, None, value)
    assert refused.value.record == 1


def test_numbers_that_a_database_lacks_are_at_fault() -> None:
    assert made(Kind.FLOAT, 1.0, math.inf)[1] == math.inf
    for value in (math.nan, math.inf, -math.inf):
        for kind in (Kind.FLOAT, Kind.DECIMAL):
            with pytest.raises(DataError, match="no such number"):
                made(kind, 1, value, nan=False, infinity=False)


def none_or(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | values, min_size=1, max_size=6)


#: what every database here holds exactly
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
NUMBER = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False, min_value=-1e300, max_value=1e300)
MOMENT = st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))
ROWS = st.fixed_dictionaries(
    {
        "whole": none_or(st.integers(-(1 << 63), (1 << 63) - 1)),
        "number": none_or(NUMBER),
        "amount": none_or(st.decimals(-(10**8), 10**8, places=4, allow_nan=False, allow_infinity=False)),
        "words": none_or(TEXT),
        "raw": none_or(st.binary(max_size=40)),
        "flag": none_or(st.booleans()),
        "day": none_or(st.dates(date(1971, 1, 1), date(9999, 12, 31))),
        "moment": none_or(MOMENT),
    }
)


def table(database: Database) -> None:
    boolean, long = "BOOLEAN", "DECIMAL(20, 4)"
    database.sql(
        f"CREATE TABLE t (id bigint PRIMARY KEY, whole bigint, number {database.double}, amount {long}, words text, "
        f"raw {database.bytes}, flag {boolean}, day date, moment {database.moment}, status varchar(10) DEFAULT 'new', "
        f"claimed_until {database.moment}, claimed_by varchar(32))"
        + (" CHARACTER SET utf8mb4" if database.system == "mariadb" else "")
    )


def test_what_is_written_is_read_again(database: Database) -> None:
    table(database)
    runner = asyncio.Runner()
    source = database.input("lease", "t", claims=64)
    sinks = [database.output("insert", table="t"), database.output("results", table="t", match=["id"])]

    async def connect() -> None:
        for each in (source, *sinks):
            await each.connect()

    async def close() -> None:
        for each in (source, *sinks):
            await each.close()

    async def round_trip(columns: dict[str, Sequence[Any]], way: int, first: int) -> None:
        length = max(map(len, columns.values()))
        ids = list(range(first, first + length))
        filled = {name: [*values, *[None] * (length - len(values))] for name, values in columns.items()}
        values = Table(("id", *filled), [ids, *filled.values()])
        await sinks[way].write(Rows(Batch([str(i) for i in ids], values), Token("t", 1)))
        batch, token = await read(source)
        assert list(column(batch, "id")) == ids
        for name, expected in filled.items():
            found = column(batch, name)
            if name == "moment" and database.system != "postgresql":
                expected = [value and value.replace(tzinfo=None) for value in expected]
                found = [value and value.replace(tzinfo=None) for value in found]
            assert list(found) == expected, name
        await source.ack(token)

    count = [0]

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(ROWS, st.integers(0, 1))
    def check(columns: dict[str, Sequence[Any]], way: int) -> None:
        count[0] += 10
        runner.run(round_trip(columns, way, count[0]))

    runner.run(connect())
    try:
        check()
    finally:
        runner.run(close())
        runner.close()


def test_what_a_column_refuses_is_named(database: Database) -> None:
    if database.system == "sqlite":
        pytest.skip("its columns refuse nothing")
    database.sql("CREATE TABLE t (id int PRIMARY KEY, small smallint, short varchar(3), amount decimal(4, 2))")

    async def go() -> None:
        for mode, more in (("insert", {}), ("results", {"match": ["id"]})):
            sink = database.output(mode, table="t", **more)  # type: ignore[arg-type]
            await sink.connect()
            good = {"id": [1, 2, 3], "small": [1, 2, 3], "short": ["a"] * 3, "amount": [Decimal("1.5")] * 3}
            for name, value in (("small", 70_000), ("short", "abcd"), ("amount", Decimal(1000)), ("id", None)):
                columns = good | {name: [*good[name][:2], value]}  # type: ignore[index]
                rows = Rows(Batch(["1", "2", "3"], Table(tuple(columns), list(columns.values()))), Token("t", 1))
                with pytest.raises(DataError) as refused:
                    await sink.write(rows)
                assert refused.value.record == 2, (mode, name, refused.value.message)
            await sink.close()

    asyncio.run(go())
    assert database.column("SELECT count(*) FROM t") == ["0"]


def test_odd_names_are_names(database: Database) -> None:
    names = {"postgresql": '"we""ird %s $1 ?"', "mariadb": '`we"ird %s $1 ?`', "sqlite": '"we`ird %s $1 ?"'}
    odd = names[database.system]
    plain = {"postgresql": 'we"ird %s $1 ?', "mariadb": 'we"ird %s $1 ?', "sqlite": "we`ird %s $1 ?"}[database.system]
    key = "varchar(20)"
    database.sql(
        f"CREATE TABLE {odd} ({odd} {key} PRIMARY KEY, score {database.double}, status varchar(10) DEFAULT 'new', "
        f"claimed_until {database.moment}, claimed_by varchar(32))"
    )
    database.sql(f"INSERT INTO {odd} ({odd}) VALUES ('a/b@c %s'), ('é ''x')")

    async def go() -> None:
        source = database.input("lease", plain, where="status LIKE '%ew'")
        sink, back = database.output(), database.redrive("lease", plain)
        for each in (source, sink, back):
            await each.connect()
        batch, token = await read(source)
        assert sorted(column(batch, plain)) == ["a/b@c %s", "é 'x"]
        await sink.write(Rows(Batch(batch.ids, Table(("score",), [[1.0, 2.0]])), token))
        await source.ack(token)
        await back.write(Rows(batch, token))
        assert sorted((await read(source))[0].ids) == sorted(batch.ids)
        for each in (source, sink, back):
            await each.close()

    asyncio.run(go())


@pytest.fixture
def maria(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with opened("mariadb", request, tmp_path) as found:
        yield found


def test_a_small_number_that_is_no_boolean_is_a_number(maria: Database) -> None:
    maria.claims(3)
    maria.sql("ALTER TABLE claims ADD flag boolean; UPDATE claims SET flag = CASE id WHEN 1 THEN 1 WHEN 2 THEN 5 END")

    async def go() -> None:
        source = maria.input()
        await source.connect()
        batch, _ = await read(source)
        assert list(column(batch, "flag")) == [True, 5, None]
        await source.close()

    asyncio.run(go())


@pytest.mark.parametrize("charset", ["latin1", "utf8mb3", "utf8mb4 COLLATE utf8mb4_unicode_ci", "utf8mb4"])
def test_keys_of_any_character_set_are_found(charset: str, maria: Database) -> None:
    maria.sql(
        "CREATE TABLE claims (id varchar(20) PRIMARY KEY, score double, status varchar(10) DEFAULT 'new', "
        f"word varchar(20), KEY (status)) CHARACTER SET {charset}; INSERT INTO claims (id) VALUES ('é'), ('b'), ('ü c')"
    )

    async def go() -> None:
        source, sink = maria.input(), maria.output()
        await source.connect()
        await sink.connect()
        batch, token = await read(source)
        values = Table(("score", "word"), [[1.0, 2.0, 3.0], list(column(batch, "id"))])
        await sink.write(Rows(Batch(batch.ids, values), token))
        await source.ack(token)
        await source.close()
        await sink.close()

    asyncio.run(go())
    assert maria.column("SELECT count(*) FROM claims WHERE status = 'done' AND word = id") == ["3"]


def test_rows_are_shared_out_over_statements_by_their_size(maria: Database) -> None:
    maria.sql("CREATE TABLE t (id int PRIMARY KEY, body longtext)")

    async def go() -> None:
        sink = maria.output("insert", table="t")
        await sink.connect()
        body = ["'" * 300_000] * 40
        await sink.write(Rows(Batch([""] * 40, Table(("id", "body"), [list(range(40)), body])), Token("t", 1)))
        body = ["x", "y" * 5_000_000]
        with pytest.raises(DataError, match="max_allowed_packet") as refused:
            await sink.write(Rows(Batch(["", ""], Table(("id", "body"), [[50, 51], body])), Token("t", 1)))
        assert refused.value.record == 1
        await sink.close()

    asyncio.run(go())
    assert maria.column("SELECT count(*) FROM t WHERE length(body) = 300000") == ["40"]
