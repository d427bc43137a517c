from __future__ import annotations

import pytest

from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.core.errors import InvalidArgument


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
