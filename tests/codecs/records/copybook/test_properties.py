from __future__ import annotations

import contextlib
from decimal import Decimal

import numpy as np
from copybooks import ASCII, layout
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codecs.records.columns import Columns
from gateway.codecs.records.copybook.decoder import CopybookDecoder
from gateway.codecs.records.copybook.encoder import CopybookEncoder
from gateway.codecs.records.copybook.form import Conventions
from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.core.errors import InvalidArgument

WORDS = st.sampled_from(
    ["01 A.\n", "05 B", "05 C", "10 D", "PIC", "X(3)", "S9(4)", "9", ".", ".\n", "OCCURS", "2", "TO", "DEPENDING ON",
     "-", "'", "REDEFINES", "\n", "COMP-3", "VALUE", "COPY",
     "REPLACING", "==A==", "BY", "SYNC", "COMP", "COMP-X", "COMP-6", "X(4)", "NATIONAL", "D",
     "*>", "SIGN",
     "LEADING", "SEPARATE", "66", "88", "FD", "ZZ9.99", "BLANK WHEN ZERO", "'a.b'", "==", "000100 "]
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=80) | st.lists(WORDS, max_size=30).map(" ".join))
def test_any_text_is_a_copybook_or_an_error(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        RecordLayout.read(text)


DECLARED = st.sampled_from(
    ["PIC S9({w})V9({s})", "PIC S9({w})V9({s}) COMP-3", "PIC S9({w})V9({s}) COMP", "PIC S9({w})V9({s}) COMP-5",
     "PIC S9({w})V9({s}) LEADING", "PIC S9({w})V9({s}) TRAILING SEPARATE", "PIC S9({w})V9({s}) LEADING SEPARATE"]
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(
    DECLARED,
    st.integers(1, 10),
    st.integers(1, 8),
    st.data(),
    st.sampled_from(["ascii", "cp037", "cp500"]),
    st.booleans(),
)
def test_numbers_read_back_the_same(
    declared: str, whole: int, scale: int, data: st.DataObject, encoding: str, over: bool
) -> None:
    most = 10 ** (whole + scale) - 1
    unscaled = data.draw(st.lists(st.integers(-most, most), min_size=1, max_size=4))
    record = layout(f"05 X {declared.format(w=whole, s=scale)}.", "05 Y PIC X.")
    conventions = Conventions(encoding, overpunched=over)
    columns = Columns(len(unscaled), {"x": np.array([float(Decimal(u).scaleb(-scale)) for u in unscaled])})
    written = CopybookEncoder(record, {"X": "x"}, conventions).encode(columns)
    if whole + scale <= 15:  # beyond, a float64 has not all the digits
        assert written.errors == {}
        found = CopybookDecoder(record, None, conventions).decode(written.values)
        assert found.fields["X"].tolist() == columns.fields["x"].tolist()
        assert found.fields["Y"].tolist() == [""] * len(unscaled)


@settings(max_examples=60, deadline=None)
@given(DECLARED, st.integers(1, 18), st.data())
def test_whole_numbers_read_back_the_same_up_to_18_digits(declared: str, digits: int, data: st.DataObject) -> None:
    most = 10**digits - 1
    values = data.draw(st.lists(st.integers(-most, most), min_size=1, max_size=4))
    record = layout(f"05 X {declared.replace('V9({s})', '').format(w=digits)}.")
    written = CopybookEncoder(record, {"X": "x"}).encode(Columns(len(values), {"x": np.array(values)}))
    assert written.errors == {}
    assert CopybookDecoder(record).decode(written.values).fields["X"].tolist() == values


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e70, 1e70), min_size=1), st.sampled_from(["ibm", "ieee-big", "ieee-little"]))
def test_floats_read_back_nearly_the_same(values: list[float], floats: str) -> None:
    record = layout("05 D COMP-2.", "05 S COMP-1.")
    short = np.clip(np.array(values), -1e30, 1e30)
    conventions = Conventions(floats=floats)
    written = CopybookEncoder(record, {"D": "d", "S": "s"}, conventions).encode(
        Columns(len(values), {"d": np.array(values), "s": short})
    )
    assert written.errors == {}
    found = CopybookDecoder(record, None, conventions).decode(written.values)
    np.testing.assert_allclose(found.fields["D"], values, rtol=2**-51, atol=1e-70)
    np.testing.assert_allclose(found.fields["S"], short, rtol=2**-19, atol=1e-37)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=27, max_size=27))
def test_any_bytes_are_values_or_an_error(data: bytes) -> None:
    record = layout(
        "05 A PIC S9(5) COMP-3.", "05 B PIC S9(18) COMP-3.", "05 C PIC 9(4) COMP.", "05 D PIC S9(3).", "05 E COMP-2.",
        "05 F PIC X.",
    )  # fmt: skip
    for conventions in (Conventions(), ASCII, Conventions(blanks=True)):
        found = CopybookDecoder(record, None, conventions).decode([data])
        assert set(found.fields) == set("ABCDEF")
        assert set(found.errors) <= {0}
