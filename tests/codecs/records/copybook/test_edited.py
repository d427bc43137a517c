from __future__ import annotations

import math

import numpy as np
import pytest
from copybooks import ASCII, layout

from gateway.codecs.records.columns import Columns, Field, Kind
from gateway.codecs.records.copybook.decoder import CopybookDecoder
from gateway.codecs.records.copybook.encoder import CopybookEncoder
from gateway.core.errors import InvalidArgument


@pytest.mark.parametrize(
    ("picture", "text", "expected"),
    [
        ("Z,ZZ9.99-", "1,234.50-", -1234.5), ("ZZ9.99", "  1.25", 1.25), ("$$,$$9.99CR", "$1,234.50CR", -1234.5),
        ("***9.99", "***7.00", 7.0), ("+++9", "  -7", -7.0), ("99/99/99", "12/31/99", 123199.0),
        ("---9.9DB", "  12.5  ", 12.5), (".99", ".25", 0.25), ("ZZ9B999", "  1 234", 1234.0),
    ],
)  # fmt: skip
def test_an_edited_number_is_text_or_a_number(picture: str, text: str, expected: float) -> None:
    record = layout(f"05 X PIC {picture}.", "05 Y PIC X.")
    assert len(text) == record.size - 1
    data = text.encode() + b"!"
    both = CopybookDecoder(record, [Field("X", Kind.NUMBER), Field("x", Kind.STRING)], ASCII).decode([data])
    assert both.errors == {}
    assert both.fields["X"].tolist() == [expected]
    assert both.fields["x"].tolist() == [text.rstrip()]


def test_what_shows_no_number() -> None:
    record = layout("05 X PIC ZZ9.99 OCCURS 2.")
    found = CopybookDecoder(record, [Field("X", Kind.NUMBER)], ASCII).decode(
        [b"  1.00" + b" " * 6, b"  1.00" + b"N/A   "]
    )
    assert found.errors == {1: "field 'X' is 'N/A', which shows no number"}
    assert found.fields["X"][0][0] == 1
    assert math.isnan(found.fields["X"][0][1])
    assert found.valid["X"][0].tolist() == [True, False]


def test_it_is_written_as_text_only() -> None:
    encoder = CopybookEncoder(layout("05 X PIC ZZ9.99."), {"X": "x"}, ASCII)
    assert encoder.encode(Columns(1, {"x": np.array(["  1.50"], object)})).values == [b"  1.50"]
    with pytest.raises(InvalidArgument, match=r"field 'X' \(line 2 of the copybook\) is an edited number"):
        encoder.encode(Columns(1, {"x": np.array([1.5])}))
