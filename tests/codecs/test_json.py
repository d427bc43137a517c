import json
import math

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gateway.codecs.binary import strings
from gateway.codecs.json import decode_data, decode_document, encode_data
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import DATA_TYPES, Array

JSON_TYPES = [t for t in DATA_TYPES.values() if t.name not in ("FP16", "BF16", "BYTES")]


def decoded(datatype: str, shape: list[int], data: str) -> Array:
    body = f'{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{datatype}","data":{data}}}]}}'
    (item,) = decode_document(body.encode()).inputs
    return decode_data(item.name, DATA_TYPES[item.datatype], item.shape, item.data)


@given(st.data(), st.sampled_from(JSON_TYPES))
def test_numbers_come_back(data: st.DataObject, datatype: object) -> None:
    array = data.draw(hnp.arrays(datatype.dtype, hnp.array_shapes(max_dims=3, max_side=4)))  # type: ignore[attr-defined]
    text = encode_data("x", array).decode()
    back = decoded(datatype.name, list(array.shape), text)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=6))
def test_strings_come_back(texts: list[str]) -> None:
    text = encode_data("x", strings(texts, [len(texts)])).decode()
    assert decoded("BYTES", [len(texts)], text).tolist() == texts


@pytest.mark.parametrize(
    "data", ["[1,2,3,4,5,6]", "[[1,2,3],[4,5,6]]", " [ [\n1,2,3],[4,5,6]]", "[[[1],[2],[3]],[[4],[5],[6]]]"]
)
@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT64", "UINT8"])
def test_data_is_flat_or_nested(data: str, datatype: str) -> None:
    assert decoded(datatype, [2, 3], data).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_values_that_are_not_finite_travel() -> None:
    array = np.array([math.nan, math.inf, -math.inf, 1.5], np.float32)
    text = encode_data("x", array).decode()
    assert text == "[NaN,Infinity,-Infinity,1.5]"
    np.testing.assert_array_equal(decoded("FP32", [4], text), array)
    np.testing.assert_array_equal(decoded("FP64", [2, 2], "[[NaN,Infinity],[-Infinity,1.5]]"), array.reshape(2, 2))


def test_a_scalar_and_an_empty_tensor_have_lists_too() -> None:
    assert decoded("FP32", [], "[2.5]").shape == ()
    assert decoded("FP32", [0, 3], "[]").shape == (0, 3)
    assert encode_data("x", np.float32(2.5).reshape(())) == b"[2.5]"


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "says"),
    [
        ("FP32", [2], '["1","2"]', "expects numbers"),
        ("FP32", [1], "[true]", "expects numbers"),
        ("FP32", [1], "[null]", "expects numbers"),
        ("FP32", [1], "1.0", "expects numbers"),
        ("FP32", [1], '{"a":1}', "expects numbers"),
        ("INT32", [1], "[1.5]", "expects integers"),
        ("INT32", [1], "[NaN]", "expects integers"),
        ("INT32", [1], "[true]", "expects integers"),
        ("INT8", [1], "[128]", "out of the range of INT8"),
        ("UINT8", [1], "[-1]", "out of the range of UINT8"),
        ("INT64", [1], "[9223372036854775808]", "out of the range of INT64"),
        ("UINT64", [1], "[36893488147419103232]", "out of the range of UINT64"),
        ("BOOL", [1], "[1]", "expects booleans"),
        ("BYTES", [1], "[1]", "expects strings"),
        ("FP16", [1], "[1]", "binary data only"),
        ("BF16", [1], "[1]", "binary data only"),
        ("FP32", [3], "[1,2]", "has 2 elements, expected 3"),
        ("FP32", [2, 2], "[[1,2,3],[4]]", "rows of different lengths"),
        ("FP32", [2, 2], "[[1,2],3]", "expects numbers"),
        ("FP32", [2], "[[NaN],2]", "rows of different lengths|expects numbers"),
        ("FP32", [1], "[" * 200 + "1" + "]" * 200, "nested"),
    ],
)
def test_wrong_data_is_refused(datatype: str, shape: list[int], data: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        decoded(datatype, shape, data)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"NaN", b'{"inputs":1}', b'{"inputs":NaN}', b'{"inputs":[{}]}', b'{"inputs":[1]}'),
        *(b"[" * 10_000, b'{"inputs":[{"data":' + b"[" * 100_000, b'{"inputs":[],"x":' + b"[" * 100_000 + b"NaN"),
        *(b'\xff{"inputs":[]}', b'{"inputs":[{"name":"\xff"}]}'),
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArgument):
        decode_document(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_an_invalid_argument(body: bytes) -> None:
    try:
        decode_document(body)
    except InvalidArgument:
        return


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda v: st.lists(v, max_size=3),
    max_leaves=8,
)


@given(values, st.sampled_from(list(DATA_TYPES)), st.lists(st.integers(-2, 3), max_size=3))
def test_any_values_are_a_tensor_or_an_invalid_argument(value: object, datatype: str, shape: list[int]) -> None:
    try:
        text = json.dumps(value)
        array = decoded(datatype, shape, text)
    except InvalidArgument:
        return
    assert array.shape == tuple(shape)


def test_the_text_is_the_shortest_that_gives_the_number_back() -> None:
    assert encode_data("x", np.array([0.1], np.float32)) == b"[0.1]"
    assert orjson.loads(encode_data("x", np.array([0.1]))) == [0.1]
    assert msgspec.json.decode(encode_data("x", np.array([True, False]))) == [True, False]
