"""Copybooks of a few lines, for tests."""

from __future__ import annotations

from typing import Any, Final

from gateway.codecs.records.columns import Columns
from gateway.codecs.records.copybook.decoder import CopybookDecoder
from gateway.codecs.records.copybook.form import Conventions
from gateway.codecs.records.copybook.layout import RecordLayout

ASCII: Final = Conventions("ascii")
#: a table of variable length with something behind it
ODO: Final = ("05 N PIC 9.", "05 T OCCURS 1 TO 3 DEPENDING ON N.", "   10 V PIC S9(3) COMP-3.", "05 Z PIC X.")


def layout(*lines: str, **options: Any) -> RecordLayout:
    return RecordLayout.read("\n".join(["       01 REC.", *(f"           {line}" for line in lines)]), **options)


def read(declared: str, data: bytes, conventions: Conventions | None = None) -> Columns:
    """One item X, one record."""
    return CopybookDecoder(layout(f"05 X {declared}."), None, conventions).decode([data])


def value(declared: str, data: bytes, conventions: Conventions | None = None) -> Any:
    found = read(declared, data, conventions)
    assert found.errors == {}
    return found.fields["X"][0]
