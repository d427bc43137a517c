from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codecs.records.columns import Columns, Field, Kind, objects
from gateway.codecs.records.fixed import FixedDecoder, FixedEncoder, FixedLayout, Place
from gateway.core.errors import InvalidArgument

LAYOUT = FixedLayout((Place("id", 0, 4), Place("x", 4, 8), Place("n", 12, 5), Place("amount", 17, 7, 2)), 26)
FIELDS = [
    Field("id", Kind.STRING),
    Field("x", Kind.NUMBER),
    Field("n", Kind.INTEGER),
    Field("amount", Kind.NUMBER),
]


@pytest.mark.parametrize("encoding", ["ascii", "cp037", "cp1140", "latin-1"])
def test_values_in_their_places(encoding: str) -> None:
    lines = [
        "ab     1.5  000420000150  ",
        "       -2e3 00007-000150  ",
        "c   " + " " * 22,
        "d         +7-  42  12345  ",
    ]
    values = [line.encode(encoding) for line in lines]
    found = FixedDecoder(LAYOUT, FIELDS, encoding=encoding).decode(values)
    assert found.errors == {3: "field 'n' is '-  42', expected an integer"}
    good = found.good()
    assert good.fields["id"].tolist() == ["ab", "", "c"]
    np.testing.assert_equal(good.fields["x"], [1.5, -2000, np.nan])
    assert good.fields["n"].tolist() == [42, 7, 0]
    np.testing.assert_equal(good.fields["amount"], [1.5, -1.5, np.nan])
    assert good.valid["n"].tolist() == [True, True, False]
    assert good.valid["id"].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"ab", "the record is truncated: it has 2 bytes, expected 26"),
        (b"a" * 27, "the record is too long: it has 27 bytes, expected 26"),
        (None, "it has no value (a tombstone)"),
        (b"\xe4   " + b" " * 22, "field 'id' has the byte 0xe4, which ascii lacks"),
        (b"a   " + b"    1.5x" + b" " * 14, "field 'x' is '1.5x', expected a number"),
        (b"a   " + b" " * 13 + b"   1.50  ", "field 'amount' is '1.50', expected an integer"),
    ],
)
def test_a_bad_record_costs_only_itself(value: bytes | None, reason: str) -> None:
    good = b"ab       1.500001      1  "
    found = FixedDecoder(LAYOUT, FIELDS).decode([good, value, good])
    assert found.errors == {1: reason}
    assert found.good().fields["x"].tolist() == [1.5, 1.5]


def test_short_records_where_they_are_allowed() -> None:
    found = FixedDecoder(LAYOUT, FIELDS, pad=True).decode([b"ab     1.5", b"x" * 27])
    assert found.fields["x"][0] == 1.5
    assert list(found.errors) == [1]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("abcü €", max_size=4), st.integers(-9999, 99999), st.integers(-999999, 9999999)), min_size=1
    )
)
def test_what_is_written_reads_back_the_same(rows: list[tuple[str, int, int]]) -> None:
    names, numbers, cents = zip(*rows, strict=True)
    columns = Columns(
        len(rows), {"id": objects(names), "n": np.array(numbers), "a": np.array(cents) / 100, "x": np.arange(len(rows))}
    )
    encoder = FixedEncoder(LAYOUT, {"id": "id", "n": "n", "amount": "a", "x": "x"}, encoding="cp1140")
    written = encoder.encode(columns)
    assert written.errors == {}
    found = FixedDecoder(LAYOUT, FIELDS, encoding="cp1140").decode(written.values)
    assert found.errors == {}
    assert found.fields["id"].tolist() == [name.rstrip() for name in names]
    assert found.fields["n"].tolist() == list(numbers)
    assert found.fields["amount"].tolist() == [cent / 100 for cent in cents]


def test_what_does_not_fit_is_an_error_of_its_record() -> None:
    columns = Columns(3, {"id": objects(["abcde", "a", "é"]), "n": np.array([1, 100000, 2])})
    written = FixedEncoder(LAYOUT, {"id": "id", "n": "n"}).encode(columns)
    assert written.errors == {
        0: "field 'id' is 'abcde' with 5 characters, expected at most 4",
        1: "field 'n' is '100000' with 6 characters, expected at most 5",
        2: "field 'id' has 'é', which ascii lacks",
    }
    assert written.values == [b"", b"", b""]


def test_layouts_that_cannot_be() -> None:
    with pytest.raises(InvalidArgument, match="the last field ends at 4"):
        FixedLayout((Place("a", 0, 4),), 3)
    with pytest.raises(InvalidArgument, match="expected at least 0"):
        FixedLayout((Place("a", 0, 0),))
    with pytest.raises(InvalidArgument, match="'z' is not in the layout of id, x"):
        FixedDecoder(LAYOUT, [Field("z")])
    with pytest.raises(InvalidArgument, match="implied decimals"):
        FixedDecoder(LAYOUT, [Field("amount", Kind.INTEGER)])
    with pytest.raises(InvalidArgument, match="not one of single bytes"):
        FixedDecoder(LAYOUT, FIELDS, encoding="utf-8")
