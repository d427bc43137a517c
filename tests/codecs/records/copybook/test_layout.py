from __future__ import annotations

import pytest
from copybooks import layout

from gateway.codecs.records.columns import Field, Kind
from gateway.codecs.records.copybook.decoder import CopybookDecoder
from gateway.core.errors import InvalidArgument


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["05 A."], "has neither a PICTURE nor items below it"),
        (["05 A PIC X COMP-3."], "is PACKED-DECIMAL, but its PICTURE is not of a number"),
        (["05 A PIC Q(3)."], "05 A (line 2 of the copybook): PICTURE 'Q(3)' is not understood"),
        (["05 A PIC 9(40)."], "has 40 digits, expected at most 31"),
        (["05 A PIC 9(19) COMP."], "19 digits, expected at most 18"),
        (["05 A PIC X(99999999)."], "is not understood"),
        (["05 A PIC P9P."], "a P on both sides"),
        (["05 A PIC X OCCURS 0."], "OCCURS 0 TO 0"),
        (["05 A PIC X OCCURS 1 TO 5."], "TO with DEPENDING ON"),
        (["05 A PIC X OCCURS 1 TO 5 DEPENDING ON B."], "field 'B' is not in the copybook"),
        (["05 A PIC S9 COMP-6."], "is COMP-6, which has no sign"),
        (["05 A POINTER."], "05 A (line 2 of the copybook) has the usage POINTER, an address"),
        (["05 A USAGE IS INDEX."], "has the usage INDEX, a table's index"),
        (["05 A PIC G(4) DISPLAY-1."], "PICTURE 'G(4)' is not understood"),
        (["05 A USAGE DISPLAY-1 PIC N(4)."], "text of two-byte characters (DBCS)"),
        (["05 A USAGE COMP-9 PIC 9."], "COMP-9, which is not known: expected one of DISPLAY"),
        (["05 A PIC X(9) COMP-X."], "expected a PICTURE of at most 18 digits, or of X(1) to X(8)"),
        (["05 A PIC S9(3) NATIONAL."], "a NATIONAL number with a sign over a digit: expected SIGN IS SEPARATE"),
        (["05 A PIC X(3) NATIONAL."], "is NATIONAL, expected a PICTURE of N"),
        (["05 A PIC 9 JUST."], "05 A (line 2 of the copybook) is JUSTIFIED, which COBOL allows for text alone"),
        (["05 A PIC 9 FOO."], "has 'FOO', which is not a clause"),
        (
            ["05 N PIC 9.", "05 T PIC X OCCURS 1 TO 3 DEPENDING ON N.", "05 A PIC 9(4) COMP SYNC."],
            "A (line 4 of the copybook) is SYNCHRONIZED behind a table of variable length",
        ),
        (
            ["05 N PIC 9.", "05 G OCCURS 2.", "   10 A COMP-1 SYNC.", "   10 T PIC X OCCURS 1 TO 3 DEPENDING ON N."],
            "05 G (line 3 of the copybook) has SYNCHRONIZED items and a variable table in its elements",
        ),
        (
            ["05 X PIC X.", "05 T PIC X(4).", "05 A REDEFINES T COMP-1 SYNC."],
            "05 A (line 4 of the copybook) is SYNCHRONIZED, and redefines what lies at byte 1 of the record: expected"
            " a multiple of 4",
        ),
        (["05 A COMP-1 PIC 9."], "has a PICTURE, which COBOL does not allow"),
        (["05 A PIC X.", "   10 B PIC X."], "lies below 05 A (line 2 of the copybook), which has a PICTURE"),
        (["05 A REDEFINES B PIC X."], "redefines B, which is not before it"),
        (["05 A PIC X"], "but no period ends it"),
        (["05 A PIC X VALUE 'x."], "literal that is not closed"),
        (["77 A PIC X."], "level 77"),
        (["COPY OTHER."], "line 2 of the copybook: COPY OTHER needs a folder to look in"),
        (["REPLACE ==A== BY ==B==."], "line 2 of the copybook begins with 'REPLACE', expected a level number"),
        (
            ["05 G OCCURS 2.", "   10 N PIC 9.", "   10 A PIC X OCCURS 1 TO 2 DEPENDING ON N."],
            "G.N (line 3 of the copybook) is to count a table's elements, but has several values itself",
        ),
        (
            ["05 N PIC 9.", "05 G.", "   10 A PIC X OCCURS 1 TO 2 DEPENDING ON N.", "05 H REDEFINES G PIC X(2)."],
            "05 G (line 3 of the copybook) has a variable table, and redefines an item or is redefined",
        ),
        (["05 N PIC X.", "05 A PIC X OCCURS 1 TO 2 DEPENDING ON N."], "but is no whole number"),
        (
            ["05 A PIC X OCCURS 1 TO 2 DEPENDING ON N.", "05 N PIC 9."],
            "N (line 3 of the copybook) counts a table's elements, but lies behind that table: expected it before",
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
