from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from gateway.core import varint


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_is_protobufs(value: int, after: bytes) -> None:
    encoded = varint.encode(value)
    assert TensorProto(uint64_data=[value]).SerializeToString().endswith(encoded)
    assert varint.read(encoded + after, 0) == (value, len(encoded))


def test_what_is_beyond_64_bits_is_dropped() -> None:
    assert varint.read(b"\xff" * 9 + b"\x7f", 0) == (2**64 - 1, 10)


@pytest.mark.parametrize(("data", "error"), [(b"", IndexError), (b"\x80", IndexError), (b"\x80" * 11, OverflowError)])
def test_what_is_no_number(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        varint.read(data, 0)
