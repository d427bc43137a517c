"""Slack bytes, GnuCOBOL's own usages and blanks for zero, in records that a real COBOL program wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from gateway.codecs.records.columns import Field
from gateway.codecs.records.copybook.decoder import CopybookDecoder
from gateway.codecs.records.copybook.encoder import CopybookEncoder
from gateway.codecs.records.copybook.form import Conventions
from gateway.codecs.records.copybook.layout import RecordLayout

Cobol = Callable[[str, Sequence[Mapping[str, int | str | float]]], bytes]
Record = dict[str, int | str | float]

#: what IBM and GnuCOBOL agree on: they do not where a table's elements need slack bytes at their end, which GnuCOBOL
#: puts before the last item, nor where a table begins with a SYNCHRONIZED item that is not aligned
SYNCHRONIZED = """\
       01  REC.
           05  AA                 PIC X.
           05  HALF               PIC S9(4) COMP SYNC.
           05  BB                 PIC X.
           05  FULL               PIC S9(6) COMP SYNCHRONIZED RIGHT.
           05  CC                 PIC X.
           05  LARGE              PIC S9(12) COMP SYNC.
           05  DD                 PIC X.
           05  NATIVE-OF-IT       PIC S9(9) COMP-5 SYNC LEFT.
           05  EE                 PIC X.
           05  SHORT-FLOAT        COMP-1 SYNC.
           05  FF                 PIC X.
           05  LONG-FLOAT         COMP-2 SYNC.
           05  PACKED-ONE         PIC S9(3) COMP-3 SYNC.
           05  COMP-TABLE OCCURS 3 TIMES.
               10  COMP-TYPE      PIC X.
               10  COMP-PAY       PIC S9(4)V99 COMP SYNC.
               10  COMP-HRS       PIC S9(3) COMP SYNC.
               10  COMP-NAME      PIC X(4).
           05  GG                 PIC X.
           05  GROUP-OF-IT.
               10  INNER          PIC S9(9) COMP SYNC.
           05  ZZ                 PIC X.
"""
SLACK: Record = {
    "AA": "a", "HALF": -2, "BB": "b", "FULL": 123456, "CC": "c", "LARGE": -123456789012, "DD": "d", "NATIVE-OF-IT": -7,
    "EE": "e", "SHORT-FLOAT": 1.5, "FF": "f", "LONG-FLOAT": -2.25, "PACKED-ONE": -12, "COMP-TYPE(1)": "x",
    "COMP-PAY(1)": -1234.56, "COMP-HRS(1)": 40, "COMP-NAME(1)": "one", "COMP-TYPE(2)": "y", "COMP-PAY(2)": 0.5,
    "COMP-HRS(2)": -1, "COMP-NAME(2)": "two", "COMP-TYPE(3)": "z", "COMP-PAY(3)": 99.99, "COMP-HRS(3)": 7,
    "COMP-NAME(3)": "four", "GG": "g", "INNER": -99, "ZZ": "!",
}  # fmt: skip

USAGES = """\
       01  REC.
           05  UNSIGNED-ODD       PIC 9(5) COMP-6.
           05  UNSIGNED-EVEN      PIC 9(4)V99 COMP-6.
           05  X-OF-4             PIC 9(4) COMP-X.
           05  X-OF-7             PIC 9(7) COMP-X.
           05  X-OF-2             PIC 9(2) COMP-X.
           05  X-SIGNED           PIC S9(7) COMP-X.
           05  X-SIGNED-SMALL     PIC S9(6) COMP-X.
           05  X-BYTES            PIC X(3) COMP-X.
           05  CHAR-OF            BINARY-CHAR.
           05  SHORT-OF           BINARY-SHORT UNSIGNED.
           05  LONG-OF            USAGE BINARY-LONG.
           05  DOUBLE-OF          BINARY-DOUBLE SIGNED.
           05  FLOAT-OF           FLOAT-SHORT.
           05  FLOAT-LONG-OF      FLOAT-LONG.
           05  BLANK-EDITED       PIC ZZ9.99 BLANK WHEN ZERO.
           05  BLANK-ZONED        PIC 9(4) BLANK WHEN ZERO.
           05  JUST-OF            PIC X(6) JUSTIFIED RIGHT.
           05  FOUR-THIRDS        PIC 9(3)V9(2) COMP-5.
       66  RENAMED RENAMES UNSIGNED-ODD THRU X-OF-4.
"""
VALUES: list[Record] = [
    {
        "UNSIGNED-ODD": 12345, "UNSIGNED-EVEN": 1234.56, "X-OF-4": 9999, "X-OF-7": 1234567, "X-OF-2": 99,
        "X-SIGNED": -1234567, "X-SIGNED-SMALL": -123456,
        "X-BYTES": 9999999, "CHAR-OF": -100, "SHORT-OF": 65535, "LONG-OF": -2147483648,
        "DOUBLE-OF": -9223372036854775807, "FLOAT-OF": 0.5, "FLOAT-LONG-OF": -1.25, "BLANK-EDITED": 12.5,
        "BLANK-ZONED": 42, "JUST-OF": "right", "FOUR-THIRDS": 123.45,
    },
    {"BLANK-EDITED": 0, "BLANK-ZONED": 0},
]  # fmt: skip


def conventions(signs: tuple[str, ...]) -> Conventions:
    return Conventions("ascii", overpunched=bool(signs))


def test_slack_bytes(cobol: Cobol, signs: tuple[str, ...]) -> None:
    layout = RecordLayout.read(SYNCHRONIZED)
    data = cobol(SYNCHRONIZED, [SLACK])
    assert len(data) == layout.size
    fields = [Field(name) for name in SLACK]
    found = CopybookDecoder(layout, fields, conventions(signs)).decode([data])
    assert found.errors == {}
    assert {name: array[0] for name, array in found.fields.items()} == SLACK
    written = CopybookEncoder(layout, {name: name for name in SLACK}, conventions(signs)).encode(found)
    assert (written.errors, len(written.values[0])) == ({}, layout.size)
    again = CopybookDecoder(layout, fields, conventions(signs)).decode(written.values)
    assert {name: array[0] for name, array in again.fields.items()} == SLACK


def test_usages_of_gnucobol(cobol: Cobol, signs: tuple[str, ...]) -> None:
    layout = RecordLayout.read(USAGES)
    data = cobol(USAGES, VALUES)
    assert len(data) == 2 * layout.size
    values = [data[: layout.size], data[layout.size :]]
    found = CopybookDecoder(layout, None, conventions(signs)).decode(values)
    assert found.errors == {}
    row = {name: array[0] for name, array in found.fields.items()}
    assert row == {**VALUES[0], "BLANK-EDITED": " 12.50"}
    assert found.fields["BLANK-ZONED"].tolist() == [42, 0]
    assert found.fields["BLANK-EDITED"].tolist() == [" 12.50", ""]
    written = CopybookEncoder(layout, {leaf.name: leaf.name for leaf in layout.leaves}, conventions(signs)).encode(
        found
    )
    assert (written.errors, written.values) == ({}, values)


@pytest.mark.parametrize("text", [SYNCHRONIZED, USAGES])
def test_the_compiler_gives_it_the_same_length(cobol: Cobol, text: str) -> None:
    assert len(cobol(text, [{}])) == RecordLayout.read(text).size
