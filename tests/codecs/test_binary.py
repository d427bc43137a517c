import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gateway.codecs.binary import decode_raw, encode_raw, raw_size, strings
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import BFLOAT16, DATA_TYPES, DataType

NUMERIC = [t for t in DATA_TYPES.values() if t.name not in ("BYTES", "BOOL", "BF16")]


@given(st.data(), st.sampled_from(NUMERIC))
def test_numbers_come_back_bit_by_bit(data: st.DataObject, datatype: DataType) -> None:
    array = data.draw(hnp.arrays(datatype.dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
    raw = bytes(encode_raw(array))
    assert len(raw) == raw_size(array)
    back = decode_raw("x", datatype, array.shape, raw)
    assert back.dtype == datatype.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@given(st.lists(st.text(max_size=8), max_size=6))
def test_strings_come_back(texts: list[str]) -> None:
    array = strings(texts, [len(texts)])
    raw = encode_raw(array)
    assert decode_raw("x", DATA_TYPES["BYTES"], [len(texts)], raw).tolist() == texts


@given(st.binary(max_size=64), st.lists(st.integers(0, 2**40), max_size=3), st.sampled_from(list(DATA_TYPES.values())))
def test_any_bytes_are_a_tensor_or_an_invalid_argument(raw: bytes, shape: list[int], datatype: DataType) -> None:
    try:
        array = decode_raw("x", datatype, shape, raw)
    except InvalidArgument:
        return
    assert array.shape == tuple(shape)


def test_bfloat16_is_two_bytes_an_element_and_no_uint16() -> None:
    array = decode_raw("x", DATA_TYPES["BF16"], [2], b"\x80\x3f\x00\x40")
    assert array.dtype == BFLOAT16
    assert array.dtype != np.uint16
    assert bytes(encode_raw(array)) == b"\x80\x3f\x00\x40"


def test_a_view_is_given_where_bytes_are_aligned_and_a_copy_where_not() -> None:
    raw = np.arange(4, dtype="<f8").tobytes()
    assert decode_raw("x", DATA_TYPES["FP64"], [4], raw).base is not None
    shifted = decode_raw("x", DATA_TYPES["FP64"], [4], memoryview(b"\0" + raw)[1:])
    assert shifted.flags.aligned
    assert shifted.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "expecting at least 4"),
        (b"\x01\0\0", "expecting at least 4"),
        (struct.pack("<I", 2**32 - 1), "claims 4294967295 bytes, but 0 are left"),
        (struct.pack("<I", 1) + b"ab", "additional input data"),
        (struct.pack("<I", 2) + b"\xff\xfe", "not UTF-8"),
    ],
)
def test_lying_strings_are_refused(raw: bytes, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        decode_raw("x", DATA_TYPES["BYTES"], [1], raw)


def test_a_count_that_cannot_be_there_allocates_nothing() -> None:
    with pytest.raises(InvalidArgument, match="expecting at least"):
        decode_raw("x", DATA_TYPES["BYTES"], [2**40], b"\0\0\0\0")


def test_a_bool_is_zero_or_one() -> None:
    assert decode_raw("x", DATA_TYPES["BOOL"], [2], b"\0\1").tolist() == [False, True]
    with pytest.raises(InvalidArgument, match="a BOOL is 0 or 1"):
        decode_raw("x", DATA_TYPES["BOOL"], [2], b"\0\2")


def test_non_contiguous_arrays_are_written_row_by_row() -> None:
    array = np.arange(6, dtype="<i4").reshape(2, 3).T
    assert bytes(encode_raw(array)) == np.ascontiguousarray(array).tobytes()
