from __future__ import annotations

import numpy as np
import pytest
from copybooks import ASCII, ODO, layout

from gateway.codecs.records.columns import Columns, Field, Kind
from gateway.codecs.records.copybook.decoder import CopybookDecoder
from gateway.codecs.records.copybook.encoder import CopybookEncoder
from gateway.core.errors import InvalidArgument


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
