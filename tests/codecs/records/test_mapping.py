from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codecs.records.columns import Columns, Field, Kind, objects
from gateway.codecs.records.json import JsonDecoder
from gateway.codecs.records.mapping import Entry, Mapping, Pick
from gateway.core.errors import InvalidArgument
from gateway.core.signature import Signature
from gateway.core.tensor import DATA_TYPES, STRING, TensorSpec


def signature(*, batched: bool = True, **inputs: tuple[str, tuple[int, ...]]) -> Signature:
    specs = [TensorSpec(name, DATA_TYPES[datatype], shape) for name, (datatype, shape) in inputs.items()]
    return Signature(specs, [TensorSpec("y", DATA_TYPES["FP32"], (-1, 1))], batched=batched)


def entry(input: str, *fields: str, **options: Any) -> Entry:
    return Entry(input, tuple(Pick(field, **options) for field in fields))


XYZ = signature(x=("FP32", (-1, 3)), n=("INT8", (-1,)), s=("BYTES", (-1, 1)), b=("BOOL", (-1,)))
FULL = Mapping([entry("x", "a", "b.c", "d"), entry("n", "k"), entry("s", "t"), entry("b", "f", default=True)])


def test_fields_become_matrices_and_lists_of_the_inputs_types() -> None:
    assert FULL.validate(XYZ) == []
    fields = FULL.fields(XYZ)
    assert fields == (
        Field("a", Kind.NUMBER),
        Field("b.c", Kind.NUMBER),
        Field("d", Kind.NUMBER),
        Field("k", Kind.INTEGER),
        Field("t", Kind.STRING),
        Field("f", Kind.BOOLEAN),
    )
    columns = JsonDecoder(fields).decode(
        [b'{"a":1,"b":{"c":2},"d":3,"k":4,"t":"u","f":false}', b'{"a":5,"b":{"c":6},"d":7.5,"k":-8,"t":"v"}']
    )
    inputs = FULL.apply(columns, XYZ)
    assert columns.errors == {}
    assert XYZ.check(inputs) == 2
    assert inputs["x"].tolist() == [[1, 2, 3], [5, 6, 7.5]]
    assert inputs["x"].flags.c_contiguous
    assert inputs["n"].tolist() == [4, -8]
    assert inputs["s"].tolist() == [["u"], ["v"]]
    assert inputs["s"].dtype == STRING
    assert inputs["b"].tolist() == [False, True]


def test_records_at_fault_leave_the_batch() -> None:
    columns = JsonDecoder(FULL.fields(XYZ)).decode(
        [
            b'{"a":1,"b":{"c":2},"d":3,"k":128,"t":"u"}',
            b'{"a":1,"b":{},"d":3,"k":1,"t":"u"}',
            b"broken",
            b'{"a":1e39,"b":{"c":2},"d":3,"k":1,"t":"u"}',
            b'{"a":1,"b":{"c":2},"d":3,"k":-128,"t":"good"}',
            b'{"a":1,"b":{"c":2},"d":3,"k":1}',
            b'{"a":Infinity,"b":{"c":2},"d":3,"k":1,"t":"too"}',
        ]
    )
    inputs = FULL.apply(columns, XYZ)
    assert columns.errors[0] == "field 'k' is 128, beyond INT8"
    assert columns.errors[1] == "field 'b.c' is missing, and has no default"
    assert columns.errors[2].startswith("it is no JSON object")
    assert columns.errors[3] == "field 'a' is 1e+39, beyond FP32"
    assert columns.errors[5] == "field 't' is missing, and has no default"
    assert columns.kept().tolist() == [4, 6]
    assert inputs["s"].tolist() == [["good"], ["too"]]
    assert XYZ.check(inputs) == 2


def test_one_field_that_is_a_list_of_them_all() -> None:
    image = signature(x=("FP64", (-1, 2, 2)))
    mapping = Mapping([entry("x", "pixels", default=math.nan)])
    assert mapping.validate(image) == []
    assert mapping.fields(image) == (Field("pixels", Kind.NUMBER, 4),)
    columns = JsonDecoder(mapping.fields(image)).decode(
        [b'{"pixels":[1,2,3,4]}', b'{"pixels":[1]}', b'{"pixels":[5,null,7,8]}']
    )
    np.testing.assert_equal(mapping.apply(columns, image)["x"], [[[1, 2], [3, 4]], [[5, math.nan], [7, 8]]])
    needed = Mapping([entry("x", "pixels")])
    columns = JsonDecoder(needed.fields(image)).decode([b'{"pixels":[5,6,null,8]}', b"{}"])
    needed.apply(columns, image)
    assert columns.errors[0] == "field 'pixels' has no value at [2], and no default"
    assert columns.errors[1] == "field 'pixels' is missing, and has no default"


@pytest.mark.parametrize(
    ("shape", "batched", "fields", "expected"),
    [
        ((-1,), True, 1, (2,)),
        ((-1, 1), True, 1, (2, 1)),
        ((-1, -1), True, 3, (2, 3)),
        ((-1, 2, -1), True, 4, (2, 2, 2)),
        ((1, 3), False, 3, (2, 3)),
        ((-1, 3), False, 3, (2, 3)),
        ((3,), False, 3, (2, 3)),
        ((), False, 1, (2,)),
    ],
)
def test_shapes(shape: tuple[int, ...], batched: bool, fields: int, expected: tuple[int, ...]) -> None:
    model = signature(batched=batched, x=("FP32", shape))
    names = [f"f{i}" for i in range(fields)]
    mapping = Mapping([entry("x", *names)])
    assert mapping.validate(model) == []
    columns = Columns(2, {name: np.ones(2) for name in names})
    assert mapping.apply(columns, model)["x"].shape == expected


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        ([entry("xx", "a")], "xx: is no input of the model, did you mean 'x'?"),
        ([entry("x", "a", "b")], "x: takes 3 values a record (FP32 [-1, 3]), but 2 are mapped"),
        ([entry("x")], "x: takes 3 values a record (FP32 [-1, 3]), but 0 are mapped"),
        ([entry("x", "a", "b..c", "d")], "x[1]: field name 'b..c' is malformed"),
        ([entry("x", "a", "b", "c", default="1")], "x[0]: has the default '1', which FP32 cannot be"),
        ([entry("x", "a", "b", "c", default=True)], "x[0]: has the default True, which FP32 cannot be"),
        ([entry("x", "a", "b", "c", default=1e40)], "x[0]: has the default 1e+40, which FP32 cannot be"),
        ([entry("n", "a", default=200)], "n[0]: has the default 200, which INT8 cannot be"),
        ([entry("n", "a", default=1.5)], "n[0]: has the default 1.5, which INT8 cannot be"),
        ([entry("b", "a", default=1)], "b[0]: has the default 1, which BOOL cannot be"),
        ([entry("s", "a", default=1)], "s[0]: has the default 1, which BYTES cannot be"),
        ([entry("n", "a["), entry("n", "b")], "n[0]: field name 'a[' is malformed"),
        ([entry("n", "a"), entry("n", "b")], "n: is mapped twice"),
        ([entry("n", "a")], "x: is an input of the model (FP32 [-1, 3]), but no field is mapped to it"),
        ([entry("h", "a")], "h: is BF16, which records cannot hold"),
        ([entry("w", "a", "b", "c")], "w: has the shape [-1, 2, -1], which 3 values do not fill"),
    ],
)
def test_problems_are_named(mapping: list[Entry], problem: str) -> None:
    model = signature(
        x=("FP32", (-1, 3)), n=("INT8", (-1,)), s=("BYTES", (-1, 1)), b=("BOOL", (-1,)), h=("BF16", (-1,)),
        w=("FP32", (-1, 2, -1)),
    )  # fmt: skip
    found = [str(p) for p in Mapping(mapping).validate(model)]
    assert any(p.startswith(problem) for p in found), found


def test_a_list_for_a_free_dimension_says_how_long_it_is() -> None:
    model = signature(x=("FP32", (-1, -1)))
    mapping = Mapping([Entry("x", (Pick("v"),), width=3)])
    assert mapping.validate(model) == []
    columns = JsonDecoder(mapping.fields(model)).decode([b'{"v":[1,2,3]}'])
    assert mapping.apply(columns, model)["x"].tolist() == [[1, 2, 3]]
    assert "but 4 are mapped" in str(Mapping([Entry("x", (Pick("v"),), width=4)]).validate(XYZ)[0])
    assert "say not how large" in str(Mapping([entry("x", "a")]).validate(signature(x=("FP32", (-1, -1, -1))))[0])


def test_expressions_are_for_documents() -> None:
    pytest.importorskip("jmespath")
    model = signature(n=("INT64", (-1,)))
    mapping = Mapping([Entry("n", (Pick("length(items)", expression=True),))])
    assert mapping.validate(model) == []
    assert "this format has names only" in str(mapping.validate(model, documents=False)[0])
    columns = JsonDecoder(mapping.fields(model)).decode([b'{"items":[1,2]}', b"{}"])
    assert mapping.apply(columns, model)["n"].tolist() == [2]
    assert list(columns.errors) == [1]


def test_names_of_a_flat_format_stand_for_themselves() -> None:
    model = signature(n=("INT64", (-1,)))
    assert Mapping([entry("n", "a[")]).validate(model, documents=False) == []


def test_one_field_for_two_types_is_refused() -> None:
    model = signature(n=("INT64", (-1,)), x=("FP32", (-1,)))
    with pytest.raises(InvalidArgument, match="field 'a' is mapped to inputs of different types"):
        Mapping([entry("n", "a"), entry("x", "a")]).fields(model)
    with pytest.raises(InvalidArgument, match="is no input of the model"):
        Mapping([entry("m", "a")]).fields(model)


@pytest.mark.parametrize("datatype", ["INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64"])
@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300), min_size=1))
def test_an_integer_arrives_or_is_blamed(datatype: str, values: list[int]) -> None:
    model = signature(n=(datatype, (-1,)))
    columns = Columns(len(values), {"a": np.array(values, np.int64)})
    found = Mapping([entry("n", "a")]).apply(columns, model)["n"]
    limits = np.iinfo(DATA_TYPES[datatype].dtype)
    assert found.tolist() == [value for value in values if limits.min <= value <= limits.max]
    assert len(found) + len(columns.errors) == len(values)


def test_a_batch_without_a_good_record() -> None:
    columns = Columns(1, {"a": np.array([np.nan])}, {"a": np.array([False])})
    assert Mapping([entry("x", "a")]).apply(columns, signature(x=("FP32", (-1, 1))))["x"].shape == (0, 1)


def test_taking_rows_and_adding_outputs() -> None:
    columns = Columns(
        3, {"a": np.array([1, 2, 3]), "s": objects(["x", "y", "z"])}, {"a": np.array([True, False, True])}
    )
    columns.blame(0, "first")
    columns.blame(0, "second")
    assert columns.errors == {0: "first"}
    good = columns.good()
    assert (good.rows, good.fields["a"].tolist(), good.valid["a"].tolist()) == (2, [2, 3], [False, True])
    joined = good.joined({"a": np.array([7, 8]), "y": np.array([0, 1])})
    assert joined.valid == {}
    assert {name: array.tolist() for name, array in joined.fields.items()} == {
        "a": [7, 8],
        "s": ["y", "z"],
        "y": [0, 1],
    }
