from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gateway.codecs.classification import classify
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import BFLOAT16, DATA_TYPES, STRING, Array

NUMERIC = [name for name in DATA_TYPES if name not in ("BOOL", "BYTES", "BF16")]


def test_words_are_value_index_and_label() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]], np.float32)
    assert classify(scores, 2, ["cat", "dog", "fox"], batched=True).tolist() == [
        ["0.700000:1:dog", "0.200000:2:fox"],
        ["0.500000:0:cat", "0.250000:1:dog"],
    ]


@pytest.mark.parametrize("datatype", NUMERIC)
def test_every_numeric_datatype(datatype: str) -> None:
    array = np.array([3, 1, 2], DATA_TYPES[datatype].dtype)
    expected = ["3.000000:0", "2.000000:2"] if datatype.startswith("FP") else ["3:0", "2:2"]
    found = classify(array, 2)
    assert found.dtype == STRING
    assert found.tolist() == expected


def test_bf16_is_widened() -> None:
    array = np.array([0x3F80, 0x4000, 0xBF80], "<u2").view(BFLOAT16)  # 1, 2, -1
    assert classify(array, 3).tolist() == ["2.000000:1", "1.000000:0", "-1.000000:2"]


@pytest.mark.parametrize("array", [np.array([True, False]), np.array(["a"], object)])
def test_a_datatype_without_order_is_refused(array: Array) -> None:
    with pytest.raises(InvalidArgument, match=r"class result not available for output due to unsupported type 'B"):
        classify(array, 1)


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3", None])
def test_k_must_be_a_positive_integer(k: int) -> None:
    with pytest.raises(InvalidArgument, match="classification must be a positive integer"):
        classify(np.zeros(3), k)


def test_more_classes_than_there_are_gives_all() -> None:
    assert classify(np.array([[1, 2]]), 10**30, batched=True).tolist() == [["2:1", "1:0"]]


def test_missing_and_empty_labels_are_left_out() -> None:
    assert classify(np.array([1, 3, 2]), 3, ["a", ""]).tolist() == ["3:1", "2:2", "1:0:a"]


def test_rows_of_more_than_one_dimension_are_flat() -> None:
    array = np.arange(12).reshape(2, 2, 3)
    assert classify(array, 1, batched=True).tolist() == [["5:5"], ["11:5"]]
    assert classify(array, 1).tolist() == ["11:11"]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nothing_gives_nothing(shape: tuple[int, int]) -> None:
    assert classify(np.zeros(shape), 2, batched=True).shape == (shape[0], min(2, shape[1]))


def test_extremes_of_integers_and_floats() -> None:
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    assert classify(np.array([low, high, 0]), 3).tolist() == [f"{high}:1", "0:2", f"{low}:0"]
    floats = np.array([np.nan, -np.inf, np.inf, 1e20], np.float64)
    assert classify(floats, 2).tolist() == ["inf:2", "100000000000000000000.000000:3"]


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int8, np.uint64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
    ),
    st.integers(1, 10),
)
def test_agrees_with_a_sort(array: Array, k: int) -> None:
    for row, words in zip(array.tolist(), classify(array, k, batched=True).tolist(), strict=True):
        keys = [-math.inf if value != value else value for value in row]
        order = sorted(range(len(row)), key=lambda i: (-keys[i], i))[:k]
        assert [int(word.split(":")[1]) for word in words] == order
