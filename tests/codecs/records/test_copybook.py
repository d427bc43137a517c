from __future__ import annotations

import contextlib
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codecs.records.columns import Columns, Field, Kind, objects
from gateway.codecs.records.copybook.decoder import CopybookDecoder
from gateway.codecs.records.copybook.encoder import CopybookEncoder
from gateway.codecs.records.copybook.form import Conventions
from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.core.errors import InvalidArgument

ASCII = Conventions("ascii")


def layout(*lines: str, **options: Any) -> RecordLayout:
    return RecordLayout.read("\n".join(["       01 REC.", *(f"           {line}" for line in lines)]), **options)


def read(declared: str, data: bytes, conventions: Conventions | None = None) -> Columns:
    """One item X, one record."""
    return CopybookDecoder(layout(f"05 X {declared}."), None, conventions).decode([data])


def value(declared: str, data: bytes, conventions: Conventions | None = None) -> Any:
    found = read(declared, data, conventions)
    assert found.errors == {}
    return found.fields["X"][0]


@pytest.mark.parametrize(
    ("declared", "data", "expected"),
    [
        ("PIC S9(5) COMP-3", "12345d", -12345),
        ("PIC S9(5) COMP-3", "12345c", 12345),
        ("PIC S9(5) COMP-3", "12345f", 12345),
        ("PIC S9(5) COMP-3", "12345a", 12345),
        ("PIC S9(5) COMP-3", "12345b", -12345),
        ("PIC 9(5) COMP-3", "12345f", 12345),
        ("PIC 9(5) COMP-3", "12345c", 12345),
        ("PIC S9(4) COMP-3", "01234d", -1234),
        ("PIC S9(15) COMP-3", "999999999999999d", -999999999999999),
        ("PIC S9(16) COMP-3", "09007199254740993c", 9007199254740993),
        ("PIC S9(18) COMP-3", "0999999999999999999d", -999999999999999999),
        ("PIC S9(16)V99 COMP-3", "0123456789012345678c", 1234567890123456.78),
        (
            "PIC S9(31) COMP-3",
            "1234567890123456789012345678901d",
            pytest.approx(-1234567890123456789012345678901.0, rel=2**-51),
        ),
        ("PIC SV9(4) COMP-3", "01234d", -0.1234),
        ("PIC S9(3)P(2) COMP-3", "123d", -12300),
        ("PIC SP(2)9(3) COMP-3", "123d", -0.00123),
        ("PIC S9(5)", "f1f2f3f4d5", -12345),
        ("PIC S9(5)", "f1f2f3f4c5", 12345),
        ("PIC S9(5)", "f1f2f3f4f5", 12345),
        ("PIC S9(5)", "f1f2f3f4b5", -12345),
        ("PIC 9(5)", "f1f2f3f4f5", 12345),
        ("PIC S9(3) SIGN LEADING", "d1f2f3", -123),
        ("PIC S9(3) SIGN LEADING SEPARATE", "60f1f2f3", -123),
        ("PIC S9(3) SIGN TRAILING SEPARATE", "f1f2f34e", 123),
        ("PIC S9(17)V9", "f1" * 17 + "d2", pytest.approx(-11111111111111111.2, rel=2**-52)),
        ("PIC 9(18)", "f9" * 18, 999999999999999999),
        ("PIC S9(4) COMP", "fffe", -2),
        ("PIC 9(4) COMP", "fffe", 65534),
        ("PIC S9(5)V99 COMP", "ffffff38", -2.0),
        ("PIC S9(18) BINARY", "8000000000000000", -(2**63)),
        ("PIC 9(18) COMP-5", "7fffffffffffffff", 2**63 - 1),
        ("COMP-1", "42640000", 100.0),
        ("COMP-1", "c276a000", -118.625),
        ("COMP-2", "4111111111111111", 1.0666666666666667),
        ("COMP-1", "00000000", 0.0),
        ("PIC X(4)", "c1c24040", "AB"),
        ("PIC A(2)", "c1c2", "AB"),
        ("PIC ZZ9.99", "4040f14bf2f3", "  1.23"),
        ("PIC N(2)", "00e40020", "ä"),
    ],
)
def test_numbers_of_the_host(declared: str, data: str, expected: Any) -> None:
    assert value(declared, bytes.fromhex(data)) == expected


@pytest.mark.parametrize(
    ("declared", "data", "expected"),
    [
        ("PIC S9(3)", b"12s", -123),
        ("PIC S9(3)", b"12L", -123),
        ("PIC S9(3)", b"12C", 123),
        ("PIC S9(3)", b"123", 123),
        ("PIC S9(3)", b"12}", -120),
        ("PIC S9(3) LEADING SEPARATE", b"-123", -123),
        ("PIC S9(4) COMP-5", b"\xfe\xff", -2),
        ("COMP-1", b"\0\0\xc0\x3f", 1.5),
        ("COMP-2", b"\0\0\0\0\0\0\xf8\xbf", -1.5),
    ],
)
def test_numbers_in_ascii(declared: str, data: bytes, expected: Any) -> None:
    assert value(declared, data, ASCII) == expected


def test_conventions() -> None:
    assert value("PIC S9(4) COMP-5", b"\xff\xfe") == -2
    assert value("PIC S9(4) COMP-5", b"\xff\xfe", Conventions(native="little")) == -257
    assert value("COMP-1", b"\x3f\xc0\0\0", Conventions(floats="ieee-big")) == 1.5
    for wrong in ({"floats": "x"}, {"native": "x"}, {"encoding": "utf-16"}, {"encoding": "no-such"}):
        with pytest.raises(InvalidArgument, match="expected"):
            Conventions(**wrong)


@pytest.mark.parametrize(
    ("declared", "data", "reason"),
    [
        ("PIC S9(5) COMP-3", "1a345d", "holds 1a345d, which is not a packed decimal of 5 digits"),
        ("PIC S9(5) COMP-3", "123450", "holds 123450, which is not a packed"),
        ("PIC S9(5) COMP-3", "1234ad", "holds 1234ad, which is not a packed"),
        ("PIC S9(4) COMP-3", "11234d", "holds 11234d, which is not a packed decimal of 4 digits"),
        ("PIC 9(5) COMP-3", "12345d", "which is not an unsigned packed decimal"),
        ("PIC S9(18) COMP-3", "00a0000000000000000c", "which is not a packed"),
        ("PIC S9(18) COMP-3", "000000000000000000a1", "which is not a packed"),
        ("PIC S9(5)", "f1f240f4f5", "which is not a zoned decimal of 5 digits"),
        ("PIC S9(5)", "f1f2f3f4fa", "which is not a zoned"),
        ("PIC S9(5)", "3132333435", "which is not a zoned"),
        ("PIC 9(2)", "f1d2", "which is not an unsigned zoned"),
        ("PIC S9(2) LEADING SEPARATE", "f1f2f3", "which is not a zoned"),
        ("PIC S9(18)", "f1" * 17 + "40", "which is not a zoned"),
        ("PIC 9(18) COMP", "8000000000000000", "which is not a binary number"),
        ("PIC S9(5)", "40" * 5, "which is not a zoned"),
    ],
)
def test_bytes_that_are_no_number(declared: str, data: str, reason: str) -> None:
    found = read(declared, bytes.fromhex(data))
    assert reason in found.errors[0]
    assert found.errors[0].startswith("field 'X' holds ")


def test_a_bad_record_costs_only_itself() -> None:
    record = layout(
        "05 A PIC S9(3) COMP-3.", "05 B PIC S9(3) COMP-3.", "05 T PIC X(2).", "05 C PIC S9(3) COMP-3 OCCURS 2."
    )
    good = bytes.fromhex("123c456dc1c2001c002d")
    values = [
        good,
        good[:-1],
        b"\x12\x3d" * 5,
        None,
        good[:2] + b"\xff" + good[3:],
        good + b"!",
        good[:-1] + b"\xff",
        good,
    ]
    found = CopybookDecoder(record).decode(values)
    assert found.errors == {
        1: "the record is truncated: it has 9 bytes, expected 10",
        3: "it has no value (a tombstone)",
        4: "field 'B' holds ff6d, which is not a packed decimal of 3 digits",
        5: "the record is too long: it has 11 bytes, expected 10",
        6: "field 'C'(2) holds 00ff, which is not a packed decimal of 3 digits",
    }
    kept = found.good()
    assert kept.fields["A"].tolist() == [123, -123, 123]
    assert kept.fields["B"].tolist() == [-456, -123, -456]
    assert kept.fields["C"].tolist() == [[1, -2], [-123, -123], [1, -2]]
    # what is not wanted is not read
    assert list(CopybookDecoder(record, [Field("A")]).decode(values).errors) == [1, 3, 5]


def test_an_unknown_character() -> None:
    assert read("PIC X(3)", b"a\x80b", ASCII).errors == {0: "field 'X' has the byte 0x80, which ascii lacks"}


def test_blanks() -> None:
    blank = b"\x40" * 3
    assert list(read("PIC 9(3)", blank).errors) == [0]
    found = read("PIC 9V99", blank, Conventions(blanks=True))
    assert (found.errors, found.valid["X"].tolist()) == ({}, [False])
    assert math.isnan(found.fields["X"][0])
    assert value("PIC 9(3) BLANK WHEN ZERO", blank) == 0


def test_redefined_fields_are_read_only_where_wanted() -> None:
    record = layout(
        "05 KIND PIC X.",
        "05 A PIC S9(3) COMP-3.",
        "05 B REDEFINES A.",
        "   10 B1 PIC X.",
        "   10 B2 PIC X.",
        "05 C REDEFINES A PIC XX.",
        "05 D PIC X.",
    )
    assert record.size == 4
    data = "Bxyd".encode("cp037")
    assert list(CopybookDecoder(record).decode([data]).errors) == [0]
    found = CopybookDecoder(record, [Field("b1"), Field("B.B2"), Field("c"), Field("REC.D")]).decode([data])
    assert found.errors == {}
    assert {name: array[0] for name, array in found.fields.items()} == {"b1": "x", "B.B2": "y", "c": "xy", "REC.D": "d"}


def test_tables_in_tables_and_subscripts() -> None:
    record = layout("05 ROW-OF OCCURS 2.", "   10 CELL PIC 9 OCCURS 3.", "   10 NAME PIC X.")
    data = b"123a456b"
    found = CopybookDecoder(record, [Field("CELL"), Field("NAME"), Field("CELL(2, 1)", Kind.NUMBER)], ASCII).decode(
        [data]
    )
    assert found.fields["CELL"].tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert found.fields["NAME"].tolist() == [["a", "b"]]
    assert found.fields["CELL(2, 1)"].tolist() == [4]
    with pytest.raises(InvalidArgument, match="has 6 values, but is wanted with 5"):
        CopybookDecoder(record, [Field("CELL", Kind.INTEGER, 5)])


ODO = ("05 N PIC 9.", "05 T OCCURS 1 TO 3 DEPENDING ON N.", "   10 V PIC S9(3) COMP-3.", "05 Z PIC X.")


def test_variable_tables() -> None:
    record = layout(*ODO)
    values = [b"2\x12\x3c\x45\x6dz", b"1\x00\x1cy", b"0a", b"3\x00\x1cx", b"9", b"?", None, b"", b"1\x00\xffw"]
    found = CopybookDecoder(record, None, ASCII).decode(values)
    assert found.errors == {
        2: "field 'N' is 0, expected the 1 to 3 of its table",
        3: "the record is truncated: it has 4 bytes, expected 8",
        4: "field 'N' is 9, expected the 1 to 3 of its table",
        5: "field 'N' holds 3f, expected the 1 to 3 of its table",
        6: "it has no value (a tombstone)",
        7: "the record is truncated: it has 0 bytes, expected 4",
        8: "field 'T.V'(1) holds 00ff, which is not a packed decimal of 3 digits",
    }
    good = found.good()
    assert good.fields["T.V"].tolist() == [[123, -456, 0], [1, 0, 0]]
    assert good.valid["T.V"].tolist() == [[True, True, False], [True, False, False]]
    assert good.fields["Z"].tolist() == ["z", "y"]
    room = layout(*ODO, slide=False)
    assert CopybookDecoder(room, None, ASCII).decode([b"1\x00\x1c....y"]).fields["Z"].tolist() == ["y"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["05 A."], "has neither a PICTURE nor items below it"),
        (["05 A PIC X COMP-3."], "is PACKED-DECIMAL, but its PICTURE is not of a number"),
        (["05 A PIC Q(3)."], "05 A (line 2): PICTURE 'Q(3)' is not understood"),
        (["05 A PIC 9(40)."], "has 40 digits, expected at most 31"),
        (["05 A PIC 9(19) COMP."], "19 digits, expected at most 18"),
        (["05 A PIC X(99999999)."], "is not understood"),
        (["05 A PIC P9P."], "a P on both sides"),
        (["05 A PIC X OCCURS 0."], "OCCURS 0 TO 0"),
        (["05 A PIC X OCCURS 1 TO 5."], "TO with DEPENDING ON"),
        (["05 A PIC X OCCURS 1 TO 5 DEPENDING ON B."], "field 'B' is not in the copybook"),
        (["05 A PIC 9 COMP-6."], "usage COMP-6, which is not supported"),
        (["05 A PIC 9 FOO."], "has 'FOO', which is not a clause"),
        (["05 A PIC 9(4) COMP SYNC."], "slack bytes are not supported"),
        (["05 A COMP-1 PIC 9."], "has a PICTURE, which COBOL does not allow"),
        (["05 A PIC X.", "   10 B PIC X."], "lies below 05 A (line 2), which has a PICTURE"),
        (["05 A REDEFINES B PIC X."], "redefines B, which is not before it"),
        (["05 A PIC X"], "but no period ends it"),
        (["05 A PIC X VALUE 'x."], "literal that is not closed"),
        (["77 A PIC X."], "level 77"),
        (["COPY OTHER."], "COPY is to be resolved before"),
        (["05 N PIC 9.", "05 G OCCURS 2.", "   10 A PIC X OCCURS 1 TO 2 DEPENDING ON N."], "within another table"),
        (["05 N PIC X.", "05 A PIC X OCCURS 1 TO 2 DEPENDING ON N."], "but is no whole number"),
        (
            ["05 N PIC 9.", "05 A PIC X OCCURS 1 TO 2 DEPENDING ON N.", "05 M PIC 9.",
             "05 B PIC X OCCURS 1 TO 2 DEPENDING ON M."],
            "counts a table's elements, but lies behind such a one",
        ),
    ],
)  # fmt: skip
def test_what_is_refused_names_item_and_line(lines: list[str], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        layout(*lines)
    assert message in caught.value.message


def test_names() -> None:
    record = layout("05 A.", "   10 X PIC 9.", "05 B.", "   10 X PIC 9.", "05 AMOUNT PIC 9V9.", "05 T PIC X.")
    with pytest.raises(InvalidArgument, match=r"field 'X' may be A\.X or B\.X"):
        record.find("X")
    with pytest.raises(InvalidArgument, match="did you mean 'AMOUNT'"):
        record.find("AMOUMT")
    with pytest.raises(InvalidArgument, match="subscript beyond"):
        record.find("AMOUNT(2)")
    for kind, name in ((Kind.INTEGER, "AMOUNT"), (Kind.NUMBER, "T"), (Kind.STRING, "AMOUNT")):
        with pytest.raises(InvalidArgument, match="but is wanted as"):
            CopybookDecoder(record, [Field(name, kind)])


def test_formats_of_the_source() -> None:
    free = "01 REC. *> free\n  05 A PIC X. *> comment\n*> all of it\n  05 B PIC X(2)."
    assert RecordLayout.read(free).size == 3
    fixed = "000100 01 REC.".ljust(72) + "IGNORED\n      * no\n           05 A PIC X(2"
    fixed += "\n      -    0).\n       66 R RENAMES A.\n       05 B PIC X.\n       EJECT\n       05 C PIC X VALUE '.'."
    assert RecordLayout.read(fixed).size == 22
    literal = (
        "       01 R.\n"
        + "         05 A PIC X(90) VALUE 'xxx. ".ljust(72, "x")
        + "\n      -    'yyy'.\n       05 B PIC X."
    )
    assert RecordLayout.read(literal).size == 91
    several = "       01 A.\n       05 X PIC X.\n       01 B.\n       05 X PIC XX.\n"
    assert RecordLayout.read(several, record="b").size == 2
    with pytest.raises(InvalidArgument, match="which has A, B"):
        RecordLayout.read(several)
    assert RecordLayout.read("           05 :T:-A PIC X.", replacing={":T:": "CUST"}).leaves[0].name == "CUST-A"
    assert RecordLayout.read("       01 LONE PIC X(80).").named().__next__().name == "LONE"
    with pytest.raises(InvalidArgument, match="'Q' in column 7"):
        RecordLayout.read("      Q01 A PIC X.", format="fixed")
    with pytest.raises(InvalidArgument, match="no data items"):
        RecordLayout.read("")


WORDS = st.sampled_from(
    ["01 A.\n", "05 B", "05 C", "10 D", "PIC", "X(3)", "S9(4)", "9", ".", ".\n", "OCCURS", "2", "TO", "DEPENDING ON",
     "-", "'", "REDEFINES", "\n", "COMP-3", "VALUE"]
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=80) | st.lists(WORDS, max_size=30).map(" ".join))
def test_any_text_is_a_copybook_or_an_error(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        RecordLayout.read(text)


DECLARED = st.sampled_from(
    ["PIC S9({w})V9({s})", "PIC S9({w})V9({s}) COMP-3", "PIC S9({w})V9({s}) COMP", "PIC S9({w})V9({s}) COMP-5",
     "PIC S9({w})V9({s}) LEADING", "PIC S9({w})V9({s}) TRAILING SEPARATE", "PIC S9({w})V9({s}) LEADING SEPARATE"]
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(
    DECLARED,
    st.integers(1, 10),
    st.integers(1, 8),
    st.data(),
    st.sampled_from(["ascii", "cp037", "cp500"]),
    st.booleans(),
)
def test_numbers_read_back_the_same(
    declared: str, whole: int, scale: int, data: st.DataObject, encoding: str, over: bool
) -> None:
    most = 10 ** (whole + scale) - 1
    unscaled = data.draw(st.lists(st.integers(-most, most), min_size=1, max_size=4))
    record = layout(f"05 X {declared.format(w=whole, s=scale)}.", "05 Y PIC X.")
    conventions = Conventions(encoding, overpunched=over)
    columns = Columns(len(unscaled), {"x": np.array([float(Decimal(u).scaleb(-scale)) for u in unscaled])})
    written = CopybookEncoder(record, {"X": "x"}, conventions).encode(columns)
    if whole + scale <= 15:  # beyond, a float64 has not all the digits
        assert written.errors == {}
        found = CopybookDecoder(record, None, conventions).decode(written.values)
        assert found.fields["X"].tolist() == columns.fields["x"].tolist()
        assert found.fields["Y"].tolist() == [""] * len(unscaled)


@settings(max_examples=60, deadline=None)
@given(DECLARED, st.integers(1, 18), st.data())
def test_whole_numbers_read_back_the_same_up_to_18_digits(declared: str, digits: int, data: st.DataObject) -> None:
    most = 10**digits - 1
    values = data.draw(st.lists(st.integers(-most, most), min_size=1, max_size=4))
    record = layout(f"05 X {declared.replace('V9({s})', '').format(w=digits)}.")
    written = CopybookEncoder(record, {"X": "x"}).encode(Columns(len(values), {"x": np.array(values)}))
    assert written.errors == {}
    assert CopybookDecoder(record).decode(written.values).fields["X"].tolist() == values


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e70, 1e70), min_size=1), st.sampled_from(["ibm", "ieee-big", "ieee-little"]))
def test_floats_read_back_nearly_the_same(values: list[float], floats: str) -> None:
    record = layout("05 D COMP-2.", "05 S COMP-1.")
    short = np.clip(np.array(values), -1e30, 1e30)
    conventions = Conventions(floats=floats)
    written = CopybookEncoder(record, {"D": "d", "S": "s"}, conventions).encode(
        Columns(len(values), {"d": np.array(values), "s": short})
    )
    assert written.errors == {}
    found = CopybookDecoder(record, None, conventions).decode(written.values)
    np.testing.assert_allclose(found.fields["D"], values, rtol=2**-51, atol=1e-70)
    np.testing.assert_allclose(found.fields["S"], short, rtol=2**-19, atol=1e-37)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=27, max_size=27))
def test_any_bytes_are_values_or_an_error(data: bytes) -> None:
    record = layout(
        "05 A PIC S9(5) COMP-3.", "05 B PIC S9(18) COMP-3.", "05 C PIC 9(4) COMP.", "05 D PIC S9(3).", "05 E COMP-2.",
        "05 F PIC X.",
    )  # fmt: skip
    for conventions in (Conventions(), ASCII, Conventions(blanks=True)):
        found = CopybookDecoder(record, None, conventions).decode([data])
        assert set(found.fields) == set("ABCDEF")
        assert set(found.errors) <= {0}


def test_what_does_not_fit_is_an_error_of_its_record() -> None:
    record = layout("05 A PIC S9(3) COMP-3.", "05 B PIC 9(3).", "05 T PIC X(2).", "05 F COMP-1.")
    columns = Columns(
        6,
        {
            "a": np.array([1000, 1, 2, 3, 4, 5]),
            "b": np.array([1.0, -1, 2, math.nan, 1, 2]),
            "t": objects(["a", "b", "abc", "d", "€", "e"]),
            "f": np.array([1, 1, 1, 1, 1, 1e39]),
        },
    )
    conventions = Conventions("ascii")
    written = CopybookEncoder(record, {"A": "a", "B": "b", "T": "t", "F": "f"}, conventions).encode(columns)
    assert written.errors == {
        0: "field 'A' is 1000, expected at most 3 digits, 0 of them decimals",
        1: "field 'B' is -1.0, expected unsigned at most 3 digits, 0 of them decimals",
        2: "field 'T' is 'abc' with 3 characters, expected at most 2",
        3: "field 'B' is nan, expected unsigned at most 3 digits, 0 of them decimals",
        4: "field 'T' has '€', which ascii lacks",
        5: "field 'F' is 1e+39, expected a number that COMP-1 holds",
    }
    assert written.values == [b""] * 6


def test_encoding_tables() -> None:
    record = layout(*ODO)
    columns = Columns(
        3,
        {"n": np.array([2, 1, 4]), "v": np.array([[1, -2, 0], [3, 0, 0], [1, 1, 1]])},
        {"v": np.array([[True, True, False], [True, False, False], [True] * 3])},
    )
    encoder = CopybookEncoder(record, {"N": "n", "V": "v"}, ASCII)
    written = encoder.encode(columns)
    assert written.errors == {2: "field 'N' is 4, expected the 1 to 3 of its table"}
    assert written.values == [b"2\x00\x1c\x00\x2d ", b"1\x00\x3c ", b""]
    with pytest.raises(InvalidArgument, match=r"shape \[\] a record, expected \[3\]"):
        CopybookEncoder(record, {"N": "n", "V": "n"}, ASCII).encode(columns)
    with pytest.raises(InvalidArgument, match="field 'N' counts a table's elements"):
        CopybookEncoder(record, {"V": "v"})


def test_an_empty_batch() -> None:
    for lines in (ODO, ("05 A PIC 9V9.", "05 B PIC X OCCURS 2.")):
        record = layout(*lines)
        found = CopybookDecoder(record).decode([])
        assert all(len(array) == 0 for array in found.fields.values())
        names = {leaf.name: leaf.name for leaf in record.named()}
        assert CopybookEncoder(record, names).encode(found).values == []


def test_two_variable_tables_slide_together() -> None:
    lines = (
        "05 N PIC 9.", "05 M PIC 99 COMP-3.",
        "05 A PIC S9(3) OCCURS 0 TO 4 DEPENDING ON N.",
        "05 BETWEEN-THEM PIC X(2).",
        "05 AGAIN REDEFINES BETWEEN-THEM PIC 9(2).",
        "05 B OCCURS 1 TO 3 DEPENDING ON M OF REC.",
        "   10 C PIC S9(5)V99 COMP-3.",
        "   10 D PIC X OCCURS 2.",
        "05 LAST-OF-IT PIC 9(3).",
    )  # fmt: skip
    record = layout(*lines)
    rows = [(n, m) for n in range(5) for m in range(1, 4)]
    count = len(rows)
    columns = Columns(
        count,
        {
            "n": np.array([n for n, _ in rows]),
            "m": np.array([m for _, m in rows]),
            "a": np.arange(4 * count).reshape(count, 4) - 30,
            "again": np.arange(count) + 10,
            "c": np.arange(3 * count).reshape(count, 3) / 4,
            "d": np.array([f"{i % 7}" for i in range(6 * count)], object).reshape(count, 3, 2),
            "last": np.arange(count) + 500,
        },
    )
    targets = {"N": "n", "M": "m", "A": "a", "AGAIN": "again", "C": "c", "D": "d", "LAST-OF-IT": "last"}
    written = CopybookEncoder(record, targets).encode(columns)
    assert written.errors == {}
    assert [len(value) for value in written.values] == [record.place(row).size for row in rows]
    found = CopybookDecoder(record, [Field(name) for name in (*targets, "C(2)")]).decode(written.values)
    assert found.errors == {}
    for name, source in targets.items():
        expected, got = columns.fields[source], found.fields[name]
        there = found.valid.get(name, np.ones(got.shape, np.bool_))
        assert got[there].tolist() == expected[there].tolist(), name
    assert found.valid["A"].sum(axis=1).tolist() == [n for n, _ in rows]
    assert found.valid["D"].sum(axis=(1, 2)).tolist() == [2 * m for _, m in rows]
    assert found.valid["C(2)"].tolist() == [m > 1 for _, m in rows]
    np.testing.assert_equal(found.fields["C"][~found.valid["C"]], np.nan)


def test_a_large_table() -> None:
    record = layout("05 V PIC S9(3) COMP-3 OCCURS 1000.", "05 T PIC X OCCURS 300.")
    columns = Columns(
        2, {"v": np.arange(2000).reshape(2, 1000) % 997, "t": np.array(list("ab" * 300), object).reshape(2, 300)}
    )
    written = CopybookEncoder(record, {"V": "v", "T": "t"}).encode(columns)
    found = CopybookDecoder(record).decode(written.values)
    assert found.fields["V"].tolist() == columns.fields["v"].tolist()
    assert found.fields["T"].tolist() == columns.fields["t"].tolist()
    with pytest.raises(InvalidArgument, match="expected at most 16777216"):
        layout("05 G OCCURS 100000.", "   10 V PIC X(1000).")


def test_a_batch_without_a_good_record() -> None:
    for lines in (ODO, ("05 A PIC 9V9.", "05 B PIC X OCCURS 2.")):
        found = CopybookDecoder(layout(*lines), None, ASCII).decode([None, b"", b"x"])
        assert sorted(found.errors) == [0, 1, 2]
        assert found.good().rows == 0
