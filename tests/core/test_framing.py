from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import InvalidArgument
from gateway.core.framing import Fixed, Framer, Lines, Rdw
from gateway.core.stream import DataError

# no line feeds, and quotes in pairs
lines = st.lists(st.from_regex(rb'([a-c,]|"[^"\r]*")+', fullmatch=True), max_size=6)
blocks = st.lists(st.binary(min_size=3, max_size=3), max_size=6)
records = st.lists(st.binary(max_size=9), max_size=6)
cases = st.one_of(
    st.tuples(st.just(Lines(quote='"')), lines),
    st.tuples(st.just(Fixed(3)), blocks),
    st.tuples(st.just(Rdw()), records),
)


def pieces(framer: Framer, data: bytes, size: int) -> list[bytes]:
    """As a reader of a file does it."""
    values: list[bytes] = []
    left = b""
    for at in range(0, len(data), size):
        left += data[at : at + size]
        found, end = framer.split(left, final=False)
        values += found
        left = left[end:]
    found, end = framer.split(left, final=True)
    assert end == len(left)
    return values + found


@settings(max_examples=60, deadline=None)
@given(
    cases,
    st.integers(1, 12),
)
def test_pieces_of_any_size_give_the_same_records(case: tuple[Framer, list[bytes]], size: int) -> None:
    framer, values = case
    assert pieces(framer, framer.join(values), size) == values


@settings(max_examples=100, deadline=None)
@given(cases, st.integers(1, 4), st.booleans())
def test_a_limit_takes_the_same_records_one_bite_after_another(
    case: tuple[Framer, list[bytes]], limit: int, blank: bool
) -> None:
    framer, values = case
    data = framer.join(values)
    if blank and isinstance(framer, Lines):
        data = data.replace(b"\n", b"\n\r\n\n") if b'"' not in data else data
    found: list[bytes] = []
    while data:
        some, end = framer.split(data, final=True, limit=limit)
        assert len(some) <= limit
        assert end > 0
        found += some
        data = data[end:]
    assert found == values


def test_line_ends() -> None:
    assert Lines().split(b"a\r\n\nb\n\r\nc", final=False) == ([b"a", b"b"], 8)
    assert Lines().split(b"a\r\n\nb\n\r\nc", final=True) == ([b"a", b"b", b"c"], 9)
    assert Lines(quote='"').split(b'"a\nb', final=True) == ([b'"a\nb'], 4)


def test_a_truncated_end_is_given_to_the_decoder() -> None:
    assert Fixed(3).split(b"abcde", final=True) == ([b"abc", b"de"], 5)
    assert Rdw().split(b"\0\x06\0\0ab\0\x09\0\0c", final=False) == ([b"ab"], 6)
    assert Rdw().split(b"\0\x06\0\0ab\0\x09\0\0c", final=True) == ([b"ab", b"c"], 11)


@pytest.mark.parametrize("head", [b"\0\3\0\0", b"\0\6\4\0", b"\0\6\0\1", b"\0\6\2\0"])
def test_a_descriptor_that_cannot_be(head: bytes) -> None:
    good = b"\0\x05\0\0a"
    assert Rdw().split(good + head, final=True) == ([b"a"], 5)
    with pytest.raises(DataError, match="descriptor word is " + head.hex()):
        Rdw().split(head, final=False)


def test_a_value_that_a_framing_cannot_hold() -> None:
    with pytest.raises(DataError, match="4 bytes, expected 3") as fixed:
        Fixed(3).join([b"abc", b"abcd"])
    with pytest.raises(DataError, match="line feed") as line:
        Lines().join([b"a", b"b", b"c\nd"])
    assert (fixed.value.record, line.value.record) == (1, 2)


def test_limits() -> None:
    with pytest.raises(DataError, match="beyond the 32,763"):
        Rdw().join([bytes(32764)])
    with pytest.raises(InvalidArgument, match="at least 1"):
        Fixed(0)
