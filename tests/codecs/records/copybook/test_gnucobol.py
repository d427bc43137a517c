"""Records that a real COBOL program wrote: they read as what it moved into them, and are written as the same bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from gateway.codecs.records.columns import Columns, Field
from gateway.codecs.records.copybook.decoder import CopybookDecoder
from gateway.codecs.records.copybook.encoder import CopybookEncoder
from gateway.codecs.records.copybook.form import Conventions
from gateway.codecs.records.copybook.item import Usage
from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.codecs.records.copybook.leaf import Leaf
from gateway.core.framing import Fixed, Rdw
from gateway.core.tensor import Array

Cobol = Callable[[str, Sequence[Mapping[str, int | str | float]]], bytes]

COPYBOOK = """\
      * What a program of the old kind writes: all usages and signs.
000100 01  REC.                                                         COL73ON
000200     05  CUST-ID            PIC 9(6).
000300     05  CUST-NAME          PIC X(12) VALUE "A. 'q' name".
           05  BALANCE            PIC S9(7)V99 COMP-3.
           05  EVEN-PACKED        PICTURE IS S9(4) USAGE COMP-3.
           05  BIG-PACKED         PIC S9(17) PACKED-DECIMAL.
           05  BIG-EVEN           PIC S9(18) COMP-3.
           05  UNSIGNED-PACKED    PIC 9(5)V9(2) COMPUTATIONAL-3.
           05  ONE-PACKED         PIC S9 COMP-3.
           05  ZONED              PIC S9(5).
           05  ZONED-DECIMALS     PIC S9(5)V9(3) DISPLAY.
           05  ZONED-BIG          PIC S9(16)V99.
           05  LEAD               PIC S9(4) SIGN LEADING.
           05  LEAD-SEPARATE      PIC S9(4) SIGN IS LEADING
               SEPARATE CHARACTER.
           05  TRAIL-SEPARATE     PIC S9(3)V9
      -        9 TRAILING SEPARATE.
           05  HALF               PIC S9(4) COMP.
           05  FULL               PIC S9(7)V99 BINARY.
           05  LARGE              PIC S9(18) COMP-4.
           05  UNSIGNED-HALF      PIC 9(4) COMP.
           05  NATIVE-W           PIC S9(9) COMP-5.
           05  SHORT-FLOAT        COMP-1.
           05  LONG-FLOAT         USAGE IS COMP-2.
           05  THOUSANDS          PIC S9(3)PPP.
           05  TINY               PIC VPP99.
           05  EDITED             PIC Z,ZZ9.99-.
           05  KIND               PIC X.
               88  IS-A           VALUE "A" THRU "F".
           05  DETAIL-A.
               10  FILLER         PIC X(2).
               10  A-AMOUNT       PIC S9(5)V99 COMP-3.
           05  DETAIL-B REDEFINES DETAIL-A.
               10  B-TEXT         PIC X(6).
           05  LINES-OF-IT OCCURS 2 TIMES INDEXED BY I.
               10  QTY            PIC S9(3) COMP-3.
               10  TAGS           PIC X(2) OCCURS 2.
"""

RECORDS: list[dict[str, int | str | float]] = [
    {
        "CUST-ID": 42,
        "CUST-NAME": "Ada",
        "BALANCE": -1234567.89,
        "EVEN-PACKED": -9999,
        "BIG-PACKED": -12345678901234567,
        "BIG-EVEN": 999999999999999999,
        "UNSIGNED-PACKED": 12345.67,
        "ONE-PACKED": -7,
        "ZONED": -42,
        "ZONED-DECIMALS": 12345.678,
        "ZONED-BIG": -1234567890123456.78,
        "LEAD": -1203,
        "LEAD-SEPARATE": -17,
        "TRAIL-SEPARATE": -12.34,
        "HALF": -1234,
        "FULL": -1234567.89,
        "LARGE": -123456789012345678,
        "UNSIGNED-HALF": 9999,
        "NATIVE-W": -123456789,
        "SHORT-FLOAT": -1.5,
        "LONG-FLOAT": 3.25,
        "THOUSANDS": -123000,
        "TINY": 0.0012,
        "EDITED": -1234.5,
        "KIND": "A",
        "A-AMOUNT": -54321.99,
        "QTY(1)": 1,
        "QTY(2)": -999,
        "TAGS(1, 1)": "a",
        "TAGS(1, 2)": "bc",
        "TAGS(2, 1)": "",
        "TAGS(2, 2)": "z",
    },
    {
        "BALANCE": 0,
        "ZONED": 42,
        "ZONED-DECIMALS": -0.001,
        "LEAD": 9,
        "LEAD-SEPARATE": 3,
        "KIND": "B",
        "B-TEXT": "hello!",
    },
]
RECORDS[0] = {name: value or " " if isinstance(value, str) else value for name, value in RECORDS[0].items()}


#: GnuCOBOL's signs over ASCII digits to the characters that EBCDIC has for them
EBCDIC_SIGN = dict(zip("0123456789pqrstuvwxy", "{ABCDEFGHI}JKLMNOPQR", strict=True))


def to_ebcdic(layout: RecordLayout, record: bytes, signs: tuple[str, ...]) -> bytes:
    """As a transfer that knows the copybook does it: text and zoned numbers, signs among them, and nothing else."""
    out = bytearray(record)
    place = layout.place(layout.most)
    for leaf in layout.leaves:
        if leaf.usage is Usage.DISPLAY and not leaf.redefines:
            for at in np.atleast_1d(place.starts[leaf.order]).reshape(-1).tolist():
                text = record[at : at + leaf.width].decode("ascii")
                if leaf.picture.signed and not leaf.separate and not signs:
                    over = 0 if leaf.leading else -1
                    text = "".join(EBCDIC_SIGN[c] if i == over % len(text) else c for i, c in enumerate(text))
                out[at : at + leaf.width] = text.encode("cp037")
    return bytes(out)


def names(layout: RecordLayout) -> list[str]:
    return [leaf.name for leaf in layout.named()]


def check_values(found: Columns) -> None:
    row = {name: array[0] for name, array in found.fields.items()}
    for name, value in RECORDS[0].items():
        if "(" in name or name == "EDITED":
            continue
        got = row[name] if name in row else row["DETAIL-A." + name]
        assert got == value, name
    assert row["EDITED"] == "1,234.50-"
    assert row["LINES-OF-IT.QTY"].tolist() == [1, -999]
    assert row["LINES-OF-IT.TAGS"].tolist() == [["a", "bc"], ["", "z"]]
    assert found.fields["ZONED"].tolist() == [-42, 42]
    assert found.fields["ZONED-DECIMALS"].tolist() == [12345.678, -0.001]
    assert found.fields["LEAD"].tolist() == [-1203, 9]
    assert found.fields["LEAD-SEPARATE"].tolist() == [-17, 3]
    assert math.copysign(1, found.fields["BALANCE"][1]) == 1


@pytest.mark.parametrize("encoding", ["ascii", "cp037"])
def test_all_usages(cobol: Cobol, signs: tuple[str, ...], encoding: str) -> None:
    layout = RecordLayout.read(COPYBOOK)
    values, _ = Fixed(layout.size).split(cobol(COPYBOOK, RECORDS), final=True)
    assert len(values) == 2
    if encoding == "cp037":
        values = [to_ebcdic(layout, value, signs) for value in values]
    conventions = Conventions(encoding, floats="ieee-little", native="little", overpunched=bool(signs))
    fields = [name for name in names(layout) if not name.startswith("DETAIL-A")]
    found = CopybookDecoder(layout, [Field(name) for name in fields], conventions).decode(values)
    assert found.errors == {}
    first = CopybookDecoder(layout, [Field("A-AMOUNT")], conventions).decode(values[:1])
    second = CopybookDecoder(layout, [Field("B-TEXT")], conventions).decode(values[1:])
    check_values(found.joined({"DETAIL-A.A-AMOUNT": np.repeat(first.fields["A-AMOUNT"], 2)}))
    if encoding == "ascii":
        assert second.fields["B-TEXT"].tolist() == ["hello!"]
    # and back: the program's own bytes
    columns = found.joined({"A-AMOUNT": np.repeat(first.fields["A-AMOUNT"], 2)})
    encoder = CopybookEncoder(layout, {name: name for name in (*fields, "A-AMOUNT")}, conventions)
    written = encoder.encode(columns)
    assert written.errors == {}
    assert written.values[0] == values[0]


VARIABLE = """\
       01  REC.
           05  ITEMS              PIC 9(2).
           05  BEFORE-IT          PIC S9(4).
           05  ITEM OCCURS 0 TO 5 TIMES DEPENDING ON ITEMS.
               10  PRICE          PIC S9(5)V99 COMP-3.
               10  CODE-OF        PIC X(3).
"""


def _counted(items: int) -> dict[str, int | str | float]:
    record: dict[str, int | str | float] = {"ITEMS": items}
    for at in range(1, items + 1):
        record[f"PRICE({at})"] = -100.25 * at
        record[f"CODE-OF({at})"] = f"C{at}"
    record["BEFORE-IT"] = -items
    return record


def test_variable_records_with_a_table(cobol: Cobol, signs: tuple[str, ...]) -> None:
    """cobc writes the length of a variable record in 2 bytes and 2 of 0, without counting those: an RDW does."""
    layout = RecordLayout.read(VARIABLE)
    counts = [0, 3, 5, 1, 3]
    written = cobol(VARIABLE, [_counted(items) for items in counts])
    data = bytearray(written)
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        data[at : at + 2] = (size + 4).to_bytes(2, "big")
        at += 4 + size
    values, end = Rdw().split(bytes(data), final=True)
    assert end == len(data)
    assert [len(value) for value in values] == [layout.place((items,)).size for items in counts]
    conventions = Conventions("ascii", overpunched=bool(signs))
    found = CopybookDecoder(layout, None, conventions).decode(values)
    assert found.errors == {}
    assert found.fields["BEFORE-IT"].tolist() == [-items for items in counts]
    prices: Array = found.fields["ITEM.PRICE"]
    there = found.valid["ITEM.PRICE"]
    for row, items in enumerate(counts):
        assert there[row].tolist() == [at < items for at in range(5)]
        assert prices[row, :items].tolist() == [-100.25 * at for at in range(1, items + 1)]
        assert found.fields["ITEM.CODE-OF"][row, :items].tolist() == [f"C{at}" for at in range(1, items + 1)]
    back = CopybookEncoder(layout, {name: name for name in names(layout)}, conventions).encode(found)
    assert back.errors == {}
    assert back.values == values


def test_leaves_are_where_the_compiler_puts_them(cobol: Cobol) -> None:
    layout = RecordLayout.read(COPYBOOK)
    assert len(cobol(COPYBOOK, RECORDS[1:])) == layout.size
    last: Leaf = layout.leaves[-1]
    assert int(layout.place(()).starts[last.order].max()) + last.width == layout.size
