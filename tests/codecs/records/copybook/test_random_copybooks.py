"""Copybooks made at random: what is written reads back, and no bytes do more than to be an error of their record."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codecs.records.columns import Columns, Field, Kind
from gateway.codecs.records.copybook.decoder import CopybookDecoder
from gateway.codecs.records.copybook.encoder import CopybookEncoder
from gateway.codecs.records.copybook.form import Conventions
from gateway.codecs.records.copybook.gather import kind_of
from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.codecs.records.copybook.leaf import Leaf

PICTURES = (
    "PIC X({d})", "PIC X({d}) JUST RIGHT",
    "PIC 9({d})", "PIC S9({d})", "PIC S9({d})V9(2)", "PIC S9({d}) SIGN LEADING SEPARATE",
    "PIC S9({d})V9 TRAILING", "PIC S9({d}) COMP-3", "PIC 9({d})V99 COMP-3", "PIC 9({d}) COMP-6", "PIC S9({d}) COMP",
    "PIC S9({d})V9 COMP SYNC", "PIC 9({d}) COMP-5", "PIC S9({d}) COMP-5 SYNC", "PIC 9({d}) COMP-X", "COMP-2 SYNC",
    "PIC N({d})", "PIC 9({d}) NATIONAL", "PIC S9({d})PP COMP-3", "PIC 9({d}) BLANK WHEN ZERO",
)  # fmt: skip


@st.composite
def copybooks(draw: st.DrawFn) -> str:
    """Up to two counters, then items, tables and groups, SYNCHRONIZED where the record's length is fixed."""
    counters = draw(st.integers(0, 2))
    lines = [f"05 COUNT-{n} PIC 9(2)." for n in range(counters)]

    def occurs() -> str:
        kind = draw(st.sampled_from(["", "", "", "fixed", "depending" if counters else "fixed"]))
        if kind == "depending":
            on = draw(st.integers(0, counters - 1))
            return f" OCCURS {draw(st.integers(0, 2))} TO 3 DEPENDING ON COUNT-{on}"
        return f" OCCURS {draw(st.integers(1, 3))}" if kind else ""

    def items(level: int, prefix: str) -> None:
        for number in range(draw(st.integers(1, 3))):
            name = f"{prefix}{number}"
            if level < 20 and draw(st.booleans()):
                lines.append(f"{level:02} G{name}{occurs()}.")
                items(level + 5, name)
            else:
                declared = draw(st.sampled_from(PICTURES)).format(d=draw(st.integers(1, 9)))
                lines.append(f"{level:02} I{name} {declared if not counters else declared.replace(' SYNC', '')}")
                lines[-1] += f"{occurs()}."

    items(5, "-")
    return "\n".join(["01 REC.", *lines])


def content(data: st.DataObject, leaf: Leaf, rows: int) -> Any:
    shape = (rows, *leaf.dims)
    count = int(np.prod(shape))
    if not leaf.numeric:
        text = st.text("AZ09 é" if leaf.picture.national else "AZ09 ", max_size=leaf.picture.size).map(str.strip)
        return np.array(data.draw(st.lists(text, min_size=count, max_size=count)), object).reshape(shape)
    if leaf.usage.floating:
        floats = st.integers(-1000, 1000).map(lambda n: n / 8)
        return np.array(data.draw(st.lists(floats, min_size=count, max_size=count))).reshape(shape)
    least, most = Conventions().bounds(leaf)
    wholes = st.integers(int(max(least, 1 - 10**leaf.picture.digits)), int(min(most, 10**leaf.picture.digits - 1)))
    unscaled = np.array(data.draw(st.lists(wholes, min_size=count, max_size=count)), np.int64).reshape(shape)
    scale = leaf.picture.scale
    return unscaled / 10**scale if kind_of(leaf) is Kind.NUMBER else unscaled * 10**-scale


@settings(max_examples=150, deadline=None)
@given(copybooks(), st.sampled_from(["ascii", "cp037"]), st.booleans(), st.data())
def test_what_is_written_reads_back(text: str, encoding: str, slide: bool, data: st.DataObject) -> None:
    record = RecordLayout.read(text, format="free", slide=slide)
    conventions = Conventions(encoding)
    combinations = list(
        product(*(range(least, most + 1) for least, most in zip(record.least, record.most, strict=True)))
    )
    names = [leaf.name for leaf in record.counters]
    rows = [row for row in combinations if all(row[names.index(name)] == row[i] for i, name in enumerate(names))]
    rows = data.draw(st.lists(st.sampled_from(rows), min_size=1, max_size=4)) if rows else []
    fields = {leaf.name: content(data, leaf, len(rows)) for leaf in record.leaves}
    fields |= {name: np.array([row[at] for row in rows], np.int64) for at, name in enumerate(names)}
    columns = Columns(len(rows), fields)
    encoder = CopybookEncoder(record, {name: name for name in fields}, conventions)
    written = encoder.encode(columns)
    assert written.errors == {}
    assert [len(value) for value in written.values] == [record.place(row).size for row in rows]
    found = CopybookDecoder(record, [Field(name) for name in fields], conventions).decode(written.values)
    assert found.errors == {}
    for name, expected in fields.items():
        there = found.valid.get(name, np.ones(expected.shape, np.bool_))
        assert found.fields[name][there].tolist() == expected[there].tolist(), name
    assert encoder.encode(found).values == written.values


@settings(max_examples=150, deadline=None)
@given(copybooks(), st.booleans(), st.lists(st.binary(max_size=80) | st.none(), max_size=4), st.data())
def test_any_bytes_are_a_record_or_an_error_of_it(
    text: str, slide: bool, garbage: list[bytes | None], data: st.DataObject
) -> None:
    record = RecordLayout.read(text, format="free", slide=slide)
    sizes = st.sampled_from([record.size, record.place(record.least).size])
    values = [*garbage, *(data.draw(st.binary(min_size=size, max_size=size)) for size in [data.draw(sizes)])]
    neighbours = bytes(record.size)
    for conventions in (Conventions(), Conventions("ascii", blanks=True)):
        decoder = CopybookDecoder(record, None, conventions)
        found = decoder.decode(values)
        assert set(found.errors) <= set(range(len(values)))
        alone = [decoder.decode([value]) for value in values]
        # what lies beside a record in the batch, or is missing of it, is never seen
        assert [at for at, one in enumerate(alone) if one.errors] == sorted(found.errors)
        assert [one.errors[0] for one in alone if one.errors] == [found.errors[at] for at in sorted(found.errors)]
        among = decoder.decode([neighbours, *values, neighbours])
        assert {at - 1: reason for at, reason in among.errors.items() if 0 < at <= len(values)} == found.errors
