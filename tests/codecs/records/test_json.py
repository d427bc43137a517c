from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codecs.records.columns import Columns, Field, Kind
from gateway.codecs.records.json import JsonDecoder
from gateway.codecs.records.jsonencoder import JsonEncoder
from gateway.core.errors import InvalidArgument

X = Field("x", Kind.NUMBER)


def decode(fields: list[Field], *records: Any) -> Columns:
    return JsonDecoder(fields).decode([json.dumps(record).encode() for record in records])


def test_each_kind_has_its_dtype() -> None:
    fields = [X, Field("n", Kind.INTEGER), Field("b", Kind.BOOLEAN), Field("s", Kind.STRING), Field("a")]
    found = decode(fields, {"x": 1, "n": 2, "b": True, "s": "ü", "a": [1]}, {"a": {"k": None}, "more": [[]]})
    assert found.errors == {}
    assert {name: array.dtype.char for name, array in found.fields.items()} == dict(zip("xnbsa", "dl?OO", strict=True))
    assert [array[0] for array in found.fields.values()] == [1.0, 2, True, "ü", [1]]
    assert all(found.valid[name].tolist() == [True, False] for name in "xnbs")
    assert "a" not in found.valid
    assert found.fields["a"][1] == {"k": None}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'{"x":"1"}', "field 'x' is of type string, expected number or null"),
        (b'{"x":true}', "field 'x' is of type boolean, expected number or null"),
        (b"[]", "the record is of type array, expected object"),
        (b"", "it is no JSON object: Input data was truncated"),
        (b'{"x":1', "it is no JSON object: Input data was truncated"),
        (b'{"x":1}{"x":2}', "it is no JSON object: JSON is malformed"),
        (b'{"x":1},{"x":2', "it is no JSON object: JSON is malformed"),
        (b'{"x":\xff}', "it is no JSON object"),
        (b'{"x":1e999}', "field 'x' is beyond what a number can be"),
        (b'{"x":NaN', "it is no JSON object"),
        (b"[" * 100_000, "the record is of type array, expected object"),
        (b'{"y":' + b"[" * 100_000, "it is no JSON object"),
        (None, "it has no value (a tombstone)"),
    ],
)
def test_a_bad_record_costs_only_itself(value: bytes | None, reason: str) -> None:
    for fields in ([X], [X, Field("y[0]")]):
        good = [b'{"x":%d}' % i for i in range(3)]
        found = JsonDecoder(fields).decode([value, good[0], value, value, good[1], good[2], value])
        assert sorted(found.errors) == [0, 2, 3, 6]
        assert found.good().fields["x"].tolist() == [0, 1, 2]
    assert reason in JsonDecoder([X]).decode([value]).errors[0]


@pytest.mark.parametrize("nested", [False, True])
def test_a_large_batch_is_as_its_records(nested: bool) -> None:
    """It is read in parts: their rows are those of the batch, and a null costs no other part its numbers."""
    x, n = ("a.x", "a.n") if nested else ("x", "n")
    records: list[Any] = [{"s": f"r{i}", "n": i, "x": i / 2} for i in range(1000)]
    records[3] = {"x": 1, "n": None, "s": "r3"}
    records[450] = {"x": None, "n": 450}
    records[999] = {"n": 999}
    values = [json.dumps({"a": record, "s": record.get("s")} if nested else record).encode() for record in records]
    values[777] = values[777][:-1]
    found = JsonDecoder([Field("s", Kind.STRING), Field(x, Kind.NUMBER), Field(n, Kind.INTEGER)]).decode(values)
    assert list(found.errors) == [777]
    good = found.good()
    kept = [record for i, record in enumerate(records) if i != 777]
    for name, key in ((x, "x"), (n, "n"), ("s", "s")):
        got = [v if ok else None for v, ok in zip(good.fields[name].tolist(), good.valid[name].tolist(), strict=True)]
        assert got == [record.get(key) for record in kept]


def test_nan_is_missing_and_infinity_is_a_number() -> None:
    found = JsonDecoder([X]).decode([b'{"x":NaN}', b'{"x":-Infinity}', b'{"x":null}', b"{}", b'{"x":2}'])
    assert found.errors == {}
    assert found.valid["x"].tolist() == [False, True, False, False, True]
    assert found.fields["x"][1] == -math.inf


def test_nested_names_and_null_on_the_way() -> None:
    fields = [Field("a.b", Kind.NUMBER), Field("a.c.d", Kind.STRING), Field('"x.y"', Kind.INTEGER)]
    found = decode(fields, {"a": {"b": 1, "c": {"d": "q"}}, "x.y": 3}, {"a": None}, {"a": {"c": None}}, {})
    assert found.errors == {}
    assert [array[0] for array in found.fields.values()] == [1.0, "q", 3]
    assert all(mask.tolist() == [True, False, False, False] for mask in found.valid.values())


@pytest.mark.parametrize("name", ["", 'a"b', "a\\b", "a\nb", "a.b", "[0]", "ü", "a b", "f0"])
def test_any_key_can_be_named(name: str) -> None:
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    found = decode([Field(quoted, Kind.NUMBER), Field("f1", Kind.NUMBER)], {name: 1, "f1": 2}, {})
    assert found.errors == {}
    assert found.fields[quoted][0] == 1
    assert (
        JsonEncoder({quoted: "f1"}).encode(found).values[0]
        == json.dumps({name: 2.0}, ensure_ascii=False, separators=(",", ":")).encode()
    )


def test_lists_of_a_width() -> None:
    found = decode([Field("v", Kind.NUMBER, 2)], {"v": [1, 2]}, {"v": [3, None]}, {"v": [1]}, {}, {"v": "no"})
    assert found.fields["v"].shape == (5, 2)
    assert found.valid["v"].tolist() == [[True, True], [True, False], [False, False], [False, False], [False, False]]
    assert found.errors[2] == "field 'v' has 1 values, expected 2"
    assert found.errors[4] == "field 'v' is of type string, expected array or null"


@pytest.mark.parametrize("size", [2**63, -(2**63) - 1, 10**40])
def test_integers_beyond_64_bits_are_blamed(size: int) -> None:
    found = decode([Field("n", Kind.INTEGER)], {"n": 2**63 - 1}, {"n": size}, {"n": -(2**63)})
    assert found.errors == {1: f"field 'n' is {size}, beyond 64 bits"}
    assert found.good().fields["n"].tolist() == [2**63 - 1, -(2**63)]


def test_elements_and_fields_within_wanted_fields() -> None:
    fields = [Field("a"), Field("a.b", Kind.INTEGER), Field("l[1]", Kind.NUMBER), Field("a.l[0].x", Kind.STRING)]
    found = decode(fields, {"a": {"b": 1, "l": [{"x": "s"}]}, "l": [1, 2]}, {"a": {"b": 1.5}}, {"a": 3, "l": "no"})
    assert found.fields["a"][0] == {"b": 1, "l": [{"x": "s"}]}
    assert [found.fields[name][0] for name in ("a.b", "l[1]", "a.l[0].x")] == [1, 2.0, "s"]
    assert found.errors == {1: "field 'a.b' is of type number, expected integer or null"}
    assert [found.valid[name][2] for name in ("a.b", "l[1]", "a.l[0].x")] == [False] * 3


def test_jmespath() -> None:
    pytest.importorskip("jmespath")
    fields = [Field("sum(items[].price)", Kind.NUMBER, expression=True), Field("id", Kind.STRING)]
    found = decode(
        fields, {"id": "1", "items": [{"price": 1.5}, {"price": 2}]}, {"items": [{"price": "x"}]}, {"id": "3"}
    )
    assert found.fields["sum(items[].price)"][0] == 3.5
    assert sorted(found.errors) == [1, 2]
    assert "field 'sum(items[].price)': In function sum()" in found.errors[1]
    with pytest.raises(InvalidArgument, match=r"expression 'a\[' is not JMESPath: [^\n]+[^\n:]$"):
        JsonDecoder([Field("a[", expression=True)])


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "[0]", 'a"b"', 'a."b', "a.[0]", "a]"])
def test_malformed_names(name: str) -> None:
    with pytest.raises(InvalidArgument, match="is malformed at character"):
        JsonDecoder([Field(name)])


def test_numbers_as_strings_where_asked() -> None:
    found = JsonDecoder([X, Field("n", Kind.INTEGER)], strict=False).decode([b'{"x":"1.5","n":"2"}', b'{"x":"q"}'])
    assert found.fields["x"][0] == 1.5
    assert found.fields["n"][0] == 2
    assert list(found.errors) == [1]


rows = st.fixed_dictionaries(
    {},
    optional={
        "x": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "s": st.none() | st.text(st.characters(codec="utf-8")),
        "b": st.none() | st.booleans(),
    },
)


@settings(max_examples=50, deadline=None)
@given(st.lists(rows))
def test_what_is_written_reads_back_the_same(records: list[dict[str, Any]]) -> None:
    kinds = {"x": Kind.NUMBER, "n": Kind.INTEGER, "s": Kind.STRING, "b": Kind.BOOLEAN}
    found = decode([Field(name, kind) for name, kind in kinds.items()], *records)
    assert found.errors == {}
    written = JsonEncoder({name: name for name in kinds}).encode(found)
    assert written.errors == {}
    assert [json.loads(v) for v in written.values] == [{name: r.get(name) for name in kinds} for r in records]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=20) | st.sampled_from([b'{"x":1}', b'{"x":', b"}", b'{"x":[', b"]}"]), max_size=9))
def test_a_record_is_read_as_if_it_were_alone(values: list[bytes]) -> None:
    decoder = JsonDecoder([X])
    together = decoder.decode(values)
    for row, value in enumerate(values):
        alone = decoder.decode([value])
        assert alone.errors.get(0) == together.errors.get(row)
        np.testing.assert_equal(together.fields["x"][row], alone.fields["x"][0])


def test_the_encoder_nests_and_picks_elements() -> None:
    columns = Columns(
        2,
        {
            "p": np.array([[0.1, 0.9], [0.5, math.nan]], np.float32),
            "id": np.array(["a", 'b"%'], object),
            "cube": np.zeros((2, 2, 1), np.int64),
            "half": np.array([1.5, 2], np.float16),
        },
        {"id": np.array([True, True])},
    )
    fields = {"id": "id", "answer.score": "p[1]", "answer.all": "p", "100%": "cube", "h": "half"}
    values = JsonEncoder(fields).encode(columns).values
    assert values[0] == b'{"id":"a","answer":{"score":0.9,"all":[0.1,0.9]},"100%":[[0],[0]],"h":1.5}'
    assert values[1] == b'{"id":"b\\"%","answer":{"score":null,"all":[0.5,null]},"100%":[[0],[0]],"h":2.0}'


def test_missing_elements_are_null() -> None:
    columns = Columns(2, {"v": np.array([[1, 2], [3, 4]])}, {"v": np.array([[True, False], [True, True]])})
    assert JsonEncoder({"v": "v", "w": "v[1]"}).encode(columns).values == [
        b'{"v":[1,null],"w":null}',
        b'{"v":[3,4],"w":4}',
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"a": "x", "a.b": "x"}, "field 'a.b' is to be written within 'a', which is a value itself"),
        ({"a.b": "x", "a": "x"}, "field 'a' is written twice, or has fields of its own"),
        ({"a[0]": "x"}, "is to be written into a list"),
    ],
)
def test_contradicting_targets(fields: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        JsonEncoder(fields)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("source", "message"),
    [("y", "field 'y' is to be written, but the records have 'x'"), ("x[1]", "element 1 of field 'x'")],
)
def test_columns_that_are_not_there(source: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        JsonEncoder({"a": source}).encode(Columns(1, {"x": np.zeros(1)}))
    assert message in caught.value.message


def test_an_empty_batch() -> None:
    found = JsonDecoder([X, Field("a.b", Kind.INTEGER), Field("v", Kind.NUMBER, 3)]).decode([])
    assert {name: array.shape for name, array in found.fields.items()} == {"x": (0,), "a.b": (0,), "v": (0, 3)}
    assert JsonEncoder({"x": "x", "v": "v"}).encode(found).values == []
