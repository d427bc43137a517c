"""COPY, and what stands round the records of a whole program."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.codecs.records.copybook.library import Library
from gateway.core.errors import InvalidArgument

ADDRESS = """\
      * A line that another program wrote.
           10  :TAG:-STREET         PIC X(20).
           10  :TAG:-ZIP            PIC 9(SIZE-OF-ZIP).
           10  KEY-OF               PIC X(4) VALUE ':TAG:'.
           10  ADR-COUNTRY          PIC X(2).
"""


def read(folder: Path, text: str, **others: str) -> RecordLayout:
    for name, content in {"main.cpy": text, **others}.items():
        (folder / name.replace("_", ".")).write_text(content)
    return RecordLayout.read(text, name="main.cpy", texts=Library(folder))


def message(folder: Path, text: str, **others: str) -> str:
    with pytest.raises(InvalidArgument) as caught:
        read(folder, text, **others)
    return caught.value.message


def test_copy_replacing(tmp_path: Path) -> None:
    text = """\
       01  REC.
           05  HOME.
           COPY ADDRESS REPLACING ==:TAG:== BY ==HOME==
                                  SIZE-OF-ZIP BY 5
                                  LEADING ==ADR-== BY ==HOME-==.
           05  WORK.
           COPY "Address.cpy" OF COPYLIB SUPPRESS REPLACING
               ==:tag:== BY ==WORK== ==SIZE-OF-ZIP== BY ==9==
               ==ADR-COUNTRY
                 PIC X(2)== BY ==NATION PIC X(3)== .
           05  Z                    PIC X.
"""
    layout = read(tmp_path, text, ADDRESS_cpy=ADDRESS)
    assert [leaf.name for leaf in layout.leaves] == [
        "HOME.HOME-STREET", "HOME.HOME-ZIP", "HOME.KEY-OF", "HOME.HOME-COUNTRY",
        "WORK.WORK-STREET", "WORK.WORK-ZIP", "WORK.KEY-OF", "WORK.NATION", "Z",
    ]  # fmt: skip
    assert layout.size == 20 + 5 + 4 + 2 + 20 + 9 + 4 + 3 + 1


def test_copies_within_copies_hand_their_words_on(tmp_path: Path) -> None:
    text = "       01  REC.\n           COPY OUTER REPLACING ==:T:== BY ==A==.\n"
    outer = "           COPY INNER.\n           05  :T:-OUTER PIC X.\n"
    layout = read(tmp_path, text, outer_cbl=outer, INNER_CPY="           05  :T:-INNER PIC X.\n")
    assert [leaf.name for leaf in layout.leaves] == ["A-INNER", "A-OUTER"]


def test_what_cannot_be_copied(tmp_path: Path) -> None:
    copy = "       01  REC.\n           COPY {}.\n"
    assert "line 2 of main.cpy: COPY names 'OTHER', but" in message(tmp_path, copy.format("OTHER"))
    assert "has no such file" in message(tmp_path, copy.format("OTHER"))
    for name in ("'../secret'", "'/etc/passwd'", "'.hidden'", '"a/b"'):
        assert "expected a file in the copybook's folder" in message(tmp_path, copy.format(name))
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.cpy").write_text("           05 A PIC X.\n")
    (tmp_path / "inside" / "linked.cpy").symlink_to(tmp_path / "secret.cpy")
    assert "is a link to elsewhere" in message(tmp_path / "inside", copy.format("LINKED"))
    assert "has two.cbl, two.cpy" in message(tmp_path, copy.format("TWO"), two_cbl="", two_cpy="")
    assert message(tmp_path, copy.format("ONE"), one_cpy="           COPY MAIN.") == (
        "line 1 of one.cpy copies main.cpy, which is within one.cpy within main.cpy"
    )
    assert "05 B (line 2 of bad.cpy): PICTURE 'Q' is not understood" in message(
        tmp_path, copy.format("BAD"), bad_cpy="           05 A PIC X.\n           05 B PIC Q.\n"
    )
    bomb = {f"B{n}_cpy": f"           COPY B{n + 1}.\n" * 40 for n in range(1, 9)}
    item = "           05 A PIC X.\n"
    assert "exceed 200000 lines" in message(tmp_path, copy.format("B1"), **bomb, B9_cpy=item)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "COPY  ends where a name is expected"),
        ("X FOO", "COPY X has 'FOO', expected REPLACING"),
        ("X REPLACING", "ends where what is replaced is expected"),
        ("X REPLACING A TO B", "COPY X has 'TO' behind A, expected BY"),
        ("X REPLACING A BY", "ends where what replaces it is expected"),
        ("X REPLACING ==  == BY B", "REPLACING has '==  ==', expected words between the =="),
    ],
)
def test_a_copy_that_is_not_one(tmp_path: Path, words: str, reason: str) -> None:
    assert reason in message(tmp_path, f"       01  REC.\n           COPY {words}.\n", X_cpy="           05 A PIC X.")


def test_a_copybook_as_they_are_found() -> None:
    text = """\
000100*-----------------------------------------------------------------
000200 01  CUSTOMER-RECORD IS EXTERNAL.                                 CUST0001
000300     05  cust-key.
000400         10 CUST-NO              PICTURE IS 9(08) .
               10 FILLER               PIC X(10) VALUE SPACES.
           05  BAL  PIC S9(9)V99 USAGE COMPUTATIONAL-3 VALUE +0.
           05  CNT  COMP PIC S9(4).  05  CNT2 PIC S9(4) USAGE IS BINARY.
           05  A1                      PIC $ZZ,ZZ9.99.
           05  A2                      PIC -(7)9.99.
           05  A5                      PIC S9(3) SIGN IS TRAILING
                                       SEPARATE CHARACTER.
           05  A6 OCCURS 5 TIMES
                  ASCENDING KEY IS A7
                  INDEXED BY I J.
               10  A7                  PIC X(3) JUSTIFIED RIGHT.
               10  A8                  PIC X VALUE LOW-VALUES.
                   88  A8-YES          VALUE 'Y' 'y'
                                       X'00' THRU X'0F'.
      D    05  DEBUG-ONE               PIC X.
           05  STAT                    PIC 9 VALUE IS ZEROES.
               88  OK VALUE 1. 88 NOT-OK VALUES ARE 2 THRU 9.
       66  KEY-ALIAS RENAMES CUST-NO THRU BAL.
"""
    layout = RecordLayout.read(text)
    names = "CUST-KEY.CUST-NO FILLER BAL CNT CNT2 A1 A2 A5 A6.A7 A6.A8 STAT"
    assert [leaf.name for leaf in layout.leaves] == names.split()
    assert layout.size == 8 + 10 + 6 + 2 + 2 + 10 + 11 + 4 + 5 * 4 + 1


def test_what_stands_round_the_records() -> None:
    program = """\
       DATA DIVISION.
       FILE SECTION.
       FD  CUSTOMERS
           RECORDING MODE IS F.
       01  CUSTOMER.
           TITLE 'The customers'
           05  A                  PIC X.
               88  IS-A           VALUES ARE "A" THRU "F", 'X.Y'
                                  WHEN SET TO FALSE IS 'N'.
           SKIP1
       66  R RENAMES A OF CUSTOMER.
           EJECT.
       78  LIMIT VALUE 5.
           05  B                  PIC X(2) VOLATILE.
       WORKING-STORAGE SECTION.
       01  COUNTER                PIC 9(4).
"""
    assert RecordLayout.read(program, record="customer").size == 3
