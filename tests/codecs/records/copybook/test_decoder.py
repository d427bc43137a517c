from __future__ import annotations

import math

import pytest
from copybooks import ASCII, ODO, layout, read, value

from gateway.codecs.records.columns import Field
from gateway.codecs.records.copybook.decoder import CopybookDecoder
from gateway.codecs.records.copybook.encoder import CopybookEncoder
from gateway.codecs.records.copybook.form import Conventions


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


@pytest.mark.parametrize(
    ("declared", "data", "encoding", "hint"),
    [
        ("PIC S9(3)", "31323b", "cp037", ""),
        ("PIC S9(3)", "313273", "cp037", "these are digits in ASCII, and the encoding is cp037"),
        (
            "PIC 9",
            "f1",
            "ascii",
            "these are digits in EBCDIC, and the encoding is ascii: is it cp037, cp500 or cp1140?",
        ),
        ("PIC 9(2)", "2020", "cp037", "these are blanks, but not in cp037"),
        ("PIC 9(2)", "4040", "cp037", "`blanks: true` reads blanks as missing"),
        ("PIC 9(3) COMP-3", "0000", "cp037", "`blanks: true` reads LOW-VALUES and HIGH-VALUES as missing"),
        ("PIC 9(3) COMP-3", "ffff", "cp037", "`blanks: true` reads LOW-VALUES and HIGH-VALUES as missing"),
        ("PIC 9(3) COMP-3", "1a1c", "ascii", "was the file sent as text"),
        ("PIC 9(3) COMP-3", "12a4", "cp037", ""),
    ],
)
def test_what_is_likely_wrong_is_said(declared: str, data: str, encoding: str, hint: str) -> None:
    found = read(declared, bytes.fromhex(data), Conventions(encoding))
    assert found.errors[0].partition(" digits")[2].removeprefix(": ").startswith(hint)
    assert bool(found.errors[0].partition(" digits")[2]) == bool(hint)


def test_low_values_behind_a_text_are_left_out_like_blanks() -> None:
    assert value("PIC X(4)", b"ab\0 ", ASCII) == "ab\0"
    assert value("PIC X(4)", b"ab\0 ", Conventions("ascii", blanks=True)) == "ab"
    assert value("PIC X(4)", bytes(4), Conventions(blanks=True)) == ""


def test_what_nothing_was_moved_to_is_missing() -> None:
    record = layout("05 A PIC S9(3) COMP-3.", "05 B PIC 9(2).", "05 C PIC 9(4) COMP.")
    values = [bytes.fromhex(data) for data in ("0000ffff0000", "40400000ffff", "ffff40400001", "00ff4000f0f0")]
    found = CopybookDecoder(record, None, Conventions(blanks=True)).decode(values)
    assert list(found.errors) == [3]
    assert found.valid["A"][:3].tolist() == [False] * 3
    assert found.valid["B"][:3].tolist() == [False] * 3
    assert found.good().fields["C"].tolist() == [0, 65535, 1]


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


def test_a_batch_without_a_good_record() -> None:
    for lines in (ODO, ("05 A PIC 9V9.", "05 B PIC X OCCURS 2.")):
        found = CopybookDecoder(layout(*lines), None, ASCII).decode([None, b"", b"x"])
        assert sorted(found.errors) == [0, 1, 2]
        assert found.good().rows == 0


def test_an_empty_batch() -> None:
    for lines in (ODO, ("05 A PIC 9V9.", "05 B PIC X OCCURS 2.")):
        record = layout(*lines)
        found = CopybookDecoder(record).decode([])
        assert all(len(array) == 0 for array in found.fields.values())
        names = {leaf.name: leaf.name for leaf in record.named()}
        assert CopybookEncoder(record, names).encode(found).values == []
