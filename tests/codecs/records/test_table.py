from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codecs.records.columns import Columns, Field, Kind, objects
from gateway.codecs.records.table import TableDecoder, TableEncoder
from gateway.core.errors import InvalidArgument
from gateway.core.table import Table


def decoded(kind: Kind, *values: Any) -> Columns:
    return TableDecoder([Field("a", kind)]).decode(Table(("b", "a"), [[0] * len(values), list(values)]))


def test_numbers() -> None:
    zone = timezone(timedelta(hours=1))
    columns = decoded(
        Kind.NUMBER, 1, 2.5, Decimal("3.25"), True, None, date(1970, 1, 2), datetime(1970, 1, 1, 0, 1),
        datetime(1970, 1, 1, 1, tzinfo=zone), datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC), timedelta(minutes=2),
        time(1, 0, 1),
    )  # fmt: skip
    assert columns.errors == {}
    found = columns.fields["a"].tolist()
    assert found[:4] == [1.0, 2.5, 3.25, 1.0]
    assert math.isnan(found[4])
    assert found[5:] == [86400.0, 60.0, 0.0, 5.0, 120.0, 3601.0]
    assert columns.valid["a"].tolist() == [True] * 4 + [False] + [True] * 6


def test_integers_booleans_and_texts() -> None:
    columns = decoded(Kind.INTEGER, 1, Decimal(2), 3.0, True, None)
    assert columns.fields["a"].tolist() == [1, 2, 3, 1, 0]
    assert columns.valid["a"].tolist() == [True, True, True, True, False]
    columns = decoded(Kind.BOOLEAN, True, 0, 1, None)
    assert columns.fields["a"].tolist() == [True, False, True, False]
    columns = decoded(Kind.STRING, "x", 1, Decimal("1.50"), date(2024, 1, 2), b"\xff", False, None)
    assert columns.fields["a"].tolist() == ["x", "1", "1.50", "2024-01-02", "ff", "false", ""]


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (Kind.NUMBER, "1", "field 'a' is of type str, which is no number"),
        (Kind.NUMBER, [1], "field 'a' is of type list, which is no number"),
        (Kind.INTEGER, 1.5, "field 'a' is of type float, which is no integer"),
        (Kind.INTEGER, math.inf, "field 'a' is of type float, which is no integer"),
        (Kind.INTEGER, Decimal("NaN"), "field 'a' is of type Decimal, which is no integer"),
        (Kind.INTEGER, 1 << 70, "beyond 64 bits"),
        (Kind.BOOLEAN, 2, "field 'a' is of type int, which is no boolean"),
    ],
)
def test_a_value_that_does_not_fit_costs_its_record(kind: Kind, value: Any, reason: str) -> None:
    columns = decoded(kind, 1, value, 1)
    assert list(columns.errors) == [1]
    assert reason in columns.errors[1]
    assert columns.fields["a"][0] == columns.fields["a"][2]


def test_any_value_is_carried_as_it_is() -> None:
    columns = decoded(Kind.ANY, date(2024, 1, 2), None, [1])
    assert columns.fields["a"].tolist() == [date(2024, 1, 2), None, [1]]
    assert columns.valid["a"].tolist() == [True, False, True]


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(InvalidArgument, match="column 'c' is not among those of the input: a"):
        TableDecoder([Field("c")]).decode(Table(("a",), [[1]]))
    with pytest.raises(InvalidArgument, match="a list or an expression"):
        TableDecoder([Field("c", Kind.NUMBER, 2)])


def test_records_as_bytes_are_the_same_as_json() -> None:
    names = ("a.b", 'q"', "d")
    table = Table(names, [[1.5, None], ["x", "y"], [date(2024, 1, 2), None]])
    decoder = TableDecoder([Field("a.b", Kind.NUMBER), Field('q"', Kind.STRING), Field("d", Kind.STRING)])
    one, two = decoder.decode(table), decoder.decode(list(table))
    for name in names:
        np.testing.assert_array_equal(one.fields[name], two.fields[name])
    assert one.valid.keys() == two.valid.keys()


def test_what_is_written() -> None:
    columns = Columns(
        2,
        {
            "p": np.array([[0.25, 0.75], [0.5, np.nan]], np.float32),
            "n": np.array([1, 2]),
            "s": objects(["x", None]),
        },
        {"n": np.array([True, False])},
    )
    encoded = TableEncoder({"score": "p[1]", "all": "p", "n": "n", "s": "s"}).encode(columns)
    assert isinstance(encoded.values, Table)
    assert encoded.values.names == ("score", "all", "n", "s")
    assert encoded.values.columns[0] == [0.75, None]
    assert encoded.values.columns[2:] == [[1, None], ["x", None]]
    assert json.loads(encoded.values[0]) == {"score": 0.75, "all": [0.25, 0.75], "n": 1, "s": "x"}
    with pytest.raises(InvalidArgument, match="field 'none' is to be written"):
        TableEncoder({"a": "none"}).encode(columns)


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals() | st.datetimes() | st.binary()
)


@given(st.sampled_from(list(Kind)), st.lists(VALUES, max_size=8))
def test_anything_in_a_column_is_taken_or_blamed(kind: Kind, values: list[Any]) -> None:
    columns = decoded(kind, *values)
    assert len(columns.fields["a"]) == len(values)
    assert set(columns.errors) <= set(range(len(values)))
