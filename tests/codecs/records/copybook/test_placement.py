"""Slack bytes as IBM's manual shows them, and what tables within tables do."""

from __future__ import annotations

import numpy as np
import pytest
from copybooks import ASCII, layout

from gateway.codecs.records.columns import Columns, Field
from gateway.codecs.records.copybook.decoder import CopybookDecoder
from gateway.codecs.records.copybook.encoder import CopybookEncoder
from gateway.codecs.records.copybook.layout import RecordLayout


def starts(record: RecordLayout, name: str) -> list[int]:
    leaf, _ = record.find(name)
    found: list[int] = record.place(record.most).starts[leaf.order].reshape(-1).tolist()
    return found


def test_slack_bytes_within_a_record() -> None:
    """FIELD-A and FIELD-L of "Slack bytes within records"."""
    record = layout(
        "05 FIELD-B PIC X(5).", "05 FIELD-C.", "   10 FIELD-D PIC XX.", "   10 FIELD-E COMP PIC S9(6) SYNC."
    )
    assert (starts(record, "FIELD-E"), record.size) == ([8], 12)
    record = layout("05 FIELD-M PIC X(5).", "05 FIELD-N PIC XX.", "05 FIELD-O.", "   10 FIELD-P COMP PIC S9(6) SYNC.")
    assert (starts(record, "FIELD-P"), record.size) == ([8], 12)


def test_slack_bytes_between_elements() -> None:
    """WORK-RECORD of the same chapter: each element takes 16 bytes from byte 1."""
    record = layout(
        "05 WORK-CODE PIC X.",
        "05 COMP-TABLE OCCURS 10 TIMES.",
        "   10 COMP-TYPE PIC X.",
        "   10 COMP-PAY PIC S9(4)V99 COMP SYNC.",
        "   10 COMP-HRS PIC S9(3) COMP SYNC.",
        "   10 COMP-NAME PIC X(5).",
        "05 LAST-OF-IT PIC X.",
    )
    assert starts(record, "COMP-TYPE") == list(range(1, 161, 16))
    assert starts(record, "COMP-PAY") == list(range(4, 164, 16))
    assert starts(record, "COMP-HRS") == list(range(8, 168, 16))
    assert starts(record, "COMP-NAME") == list(range(10, 170, 16))
    assert (starts(record, "LAST-OF-IT"), record.size) == ([161], 162)


@pytest.mark.parametrize(
    ("declared", "start"),
    [
        ("PIC S9(4) COMP", 2), ("PIC S9(5) COMP", 4), ("PIC S9(18) COMP", 4), ("PIC S9(18) COMP-5", 4),
        ("COMP-1", 4), ("COMP-2", 8), ("PIC S9(5) COMP-3", 1), ("PIC X(8)", 1), ("PIC 9(8)", 1),
    ],
)  # fmt: skip
def test_boundaries(declared: str, start: int) -> None:
    assert starts(layout("05 A PIC X.", f"05 B {declared} SYNC."), "B") == [start]
    whole = RecordLayout.read(f"       01 REC SYNC.\n         05 A PIC X.\n         05 B {declared}.")
    assert starts(whole, "B") == [start]


def test_a_redefinition_is_where_its_item_is() -> None:
    record = layout(
        "05 A PIC X.", "05 B COMP-1 SYNC.", "05 C REDEFINES B PIC 9(9) COMP SYNC.", "05 D REDEFINES B PIC X."
    )
    assert [starts(record, name) for name in "BCD"] == [[4], [4], [4]]
    assert record.size == 8


NESTED = (
    "05 N PIC 9.",
    "05 M PIC 9.",
    "05 T OCCURS 0 TO 3 DEPENDING ON N.",
    "   10 A PIC X.",
    "   10 B PIC 9(2) OCCURS 1 TO 4 DEPENDING ON M.",
    "05 L PIC S9(3) COMP-3.",
    "05 U PIC 9 OCCURS 0 TO 2 DEPENDING ON L.",
    "05 Z PIC X.",
)


def test_variable_tables_in_each_other_and_counters_behind_them() -> None:
    record = layout(*NESTED)
    values = [
        b"23" + b"a010203" + b"b040506" + b"\x00\x2c" + b"78" + b"z",
        b"01" + b"\x00\x0c" + b"9" + b"y",
        b"34" + b"a01020304b05060708c09101112" + b"\x00\x0c" + b"x",
        b"14" + b"a01020304" + b"\x00\x1c" + b"5" + b"w",
        b"14" + b"a0102",
        b"14" + b"a01020304" + b"\x00\x9c" + b"w",
    ]
    found = CopybookDecoder(record, None, ASCII).decode(values)
    assert found.errors == {
        1: "the record is too long: it has 6 bytes, expected 5",
        4: "the record is truncated: it has 7 bytes, expected 14",
        5: "field 'L' is 9, expected the 0 to 2 of its table",
    }
    good = found.good()
    assert good.fields["Z"].tolist() == ["z", "x", "w"]
    there = good.valid["T.B"]
    assert there.sum(axis=(1, 2)).tolist() == [6, 12, 4]
    assert good.fields["T.B"][0][there[0]].tolist() == [1, 2, 3, 4, 5, 6]
    assert good.fields["T.B"][1][there[1]].tolist() == list(range(1, 13))
    assert good.valid["T.A"].tolist() == [[True, True, False], [True, True, True], [True, False, False]]
    assert good.valid["U"].tolist() == [[True, True], [False, False], [True, False]]
    written = CopybookEncoder(record, {leaf.name: leaf.name for leaf in record.leaves}, ASCII).encode(good)
    assert (written.errors, written.values) == ({}, [values[0], values[2], values[3]])


def test_every_combination_of_counts_reads_back() -> None:
    record = layout(*NESTED)
    rows = [(n, m, k) for n in range(4) for m in range(1, 5) for k in range(3)]
    count = len(rows)
    columns = Columns(
        count,
        {
            **{name: np.array(column) for name, column in zip("NML", zip(*rows, strict=True), strict=True)},
            "A": np.array([f"{i % 7}" for i in range(3 * count)], object).reshape(count, 3),
            "B": (np.arange(12 * count) % 100).reshape(count, 3, 4),
            "U": (np.arange(2 * count) % 10).reshape(count, 2),
            "Z": np.array(["z"] * count, object),
        },
    )
    written = CopybookEncoder(record, {name: name for name in columns.fields}, ASCII).encode(columns)
    assert written.errors == {}
    assert [len(value) for value in written.values] == [2 + n * (1 + 2 * m) + 2 + k + 1 for n, m, k in rows]
    found = CopybookDecoder(record, [Field(name) for name in columns.fields], ASCII).decode(written.values)
    assert found.errors == {}
    for name, expected in columns.fields.items():
        there = found.valid.get(name, np.ones(expected.shape, np.bool_))
        assert found.fields[name][there].tolist() == expected[there].tolist(), name
    assert found.valid["B"].sum(axis=(1, 2)).tolist() == [n * m for n, m, _ in rows]
