from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codecs.records.columns import Columns, Field, Kind, objects
from gateway.codecs.records.csv import CsvDecoder, CsvEncoder
from gateway.core.errors import InvalidArgument
from gateway.core.framing import Lines

HEADER = ["id", "x", "n", "b"]
FIELDS = [Field("id", Kind.STRING), Field("x", Kind.NUMBER), Field("n", Kind.INTEGER), Field("b", Kind.BOOLEAN)]


def test_kinds_and_missing_values() -> None:
    found = CsvDecoder(HEADER, FIELDS).decode([b"a,1.5,2,true", b",,,", b'"b,""c""","-2e3","7","no"', b"d,+.5,007,1"])
    assert found.errors == {}
    assert found.fields["id"].tolist() == ["a", "", 'b,"c"', "d"]
    np.testing.assert_equal(found.fields["x"], [1.5, np.nan, -2000, 0.5])
    assert found.fields["n"].tolist() == [2, 0, 7, 7]
    assert found.fields["b"].tolist() == [True, False, False, True]
    assert all(mask.tolist() == [True, False, True, True] for mask in found.valid.values())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a,1", "the line has 2 fields, expected 4"),
        (b"a,1,2,t,", "the line has 5 fields, expected 4"),
        (b"", "the line has 1 fields, expected 4"),
        (b'"a,1,2,t', "the line has 0 fields, expected 4"),
        (b"a,x,2,t", "field 'x' is 'x', expected a number"),
        (b"a,1_0,2,t", "field 'x' is '1_0', expected a number"),
        (b"a,1,2.5,t", "field 'n' is '2.5', expected an integer"),
        (b"a,1,99999999999999999999,t", "field 'n' is '99999999999999999999', expected an integer"),
        (b"a,1,2,perhaps", "field 'b' is 'perhaps', expected true or false"),
        (b"\xff,1,2,t", "field 'id' is not utf-8: byte 0xff"),
        (None, "it has no value (a tombstone)"),
    ],
)
def test_a_bad_line_costs_only_itself(line: bytes | None, reason: str) -> None:
    found = CsvDecoder(HEADER, FIELDS).decode([b"a,1,2,t", line, b"b,3,4,f"])
    assert found.errors == {1: reason}
    assert found.good().fields["x"].tolist() == [1, 3]
    assert found.good().fields["id"].tolist() == ["a", "b"]


def test_a_comma_within_another_delimiters_field_is_no_second_number() -> None:
    found = CsvDecoder(["x", "y"], [Field("x", Kind.NUMBER), Field("y", Kind.NUMBER)], delimiter=";").decode(
        [b"1,5;2", b"3;4"]
    )
    assert found.errors == {0: "field 'x' is '1,5', expected a number"}


@pytest.mark.parametrize(
    ("field", "message"), [(Field("z"), "is not among"), (Field("d"), "is twice"), (Field("id", width=2), "is a list")]
)
def test_fields_that_a_line_cannot_have(field: Field, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        CsvDecoder([*HEADER, "d", "d"], [field])


@pytest.mark.parametrize(("delimiter", "quote"), [("", '"'), ("ab", '"'), ("\n", '"'), ('"', '"'), (",", "ü")])
def test_signs(delimiter: str, quote: str) -> None:
    with pytest.raises(InvalidArgument, match="of CSV"):
        CsvDecoder(HEADER, FIELDS, delimiter=delimiter, quote=quote)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(texts, st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1)), min_size=1))
def test_lines_read_back_the_same_by_us_and_by_python(rows: list[tuple[str, float, int]]) -> None:
    names, floats, integers = zip(*rows, strict=True)
    columns = Columns(len(rows), {"s": objects(names), "x": np.array(floats), "n": np.array(integers)})
    encoder = CsvEncoder({"s, 1": "s", "x": "x", "n": "n"})
    framer = Lines(quote='"')
    data = framer.join([encoder.header, *encoder.encode(columns).values])
    expected = [[s, x, n] for s, x, n in rows]
    assert [
        [s, float(x), int(n)] for s, x, n in list(csv.reader(io.StringIO(data.decode(), newline="")))[1:]
    ] == expected
    lines, end = framer.split(data, final=True)
    assert end == len(data)
    fields = [Field("s", Kind.STRING), Field("x", Kind.NUMBER), Field("n", Kind.INTEGER)]
    found = CsvDecoder(["s", "x", "n"], fields).decode(lines[1:])
    assert found.errors == {}
    assert [found.fields[name].tolist() for name in "sxn"] == [list(names), list(floats), list(integers)]


def test_lists_are_written_as_json() -> None:
    columns = Columns(2, {"p": np.array([[0.5, 1], [2, 3]])})
    assert CsvEncoder({"p": "p", "q": "p[1]"}).encode(columns).values == [b'"[0.5,1.0]",1.0', b'"[2.0,3.0]",3.0']
