from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.letter import decode, encode
from gateway.core.stream import DataError, DeadLetter, Message

values = st.none() | st.binary(max_size=40)
headers = st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=9)), max_size=3).map(tuple)
messages = st.builds(Message, st.text(), values, values, headers, st.integers(0, 1 << 45))


@given(st.builds(DeadLetter, messages, st.text(), st.text(), st.text(), st.integers(1, 99), st.text()))
def test_it_comes_back_as_it_was_in_one_line(letter: DeadLetter) -> None:
    text = encode(letter)
    assert b"\n" not in text
    assert decode(text) == letter


def test_what_is_text_can_be_read() -> None:
    letter = DeadLetter(Message("f/7", b'{"x":1}', headers=(("h", b"\xff"),)), "no x", "in", "7")
    document = json.loads(encode(letter))
    assert document["value"] == '{"x":1}'
    assert document["reason"] == "no x"
    assert document["headers"] == [["h", {"base64": "/w=="}]]


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"id":"1"}', b"\xff", b'{"id":"1","value":{"base64":"?"}}'])
def test_what_is_none(text: bytes) -> None:
    with pytest.raises(DataError, match="no dead letter"):
        decode(text)
