import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gateway.commands.rows import as_input, as_numbers, batches, from_table, read_rows
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import BFLOAT16, DATA_TYPES, TensorSpec


def specs(**shapes: tuple[str, tuple[int, ...]]) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, DATA_TYPES[datatype], shape) for name, (datatype, shape) in shapes.items()}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(text: str, name: str, spec: dict[str, TensorSpec], *columns: str) -> dict[str, np.ndarray]:
    Path(name).write_text(text)
    return read_rows(Path(name), spec, columns)


ONE = specs(X=("FP32", (-1, 3)))
TWO = specs(age=("INT64", (-1, 1)), name=("BYTES", (-1, 1)))


def test_all_columns_of_a_csv_are_the_features_of_the_only_input() -> None:
    found = rows("a,b,c\n1,2,3.5\n4,5,nan\n", "r.csv", ONE)["X"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([[1, 2, 3.5], [4, 5, np.nan]], np.float32))


def test_a_csv_without_a_header_and_a_tsv_with_a_mark_at_its_start() -> None:
    assert rows("1,2,3\n4,5,6\n", "r.csv", ONE)["X"].shape == (2, 3)
    assert rows("\ufeffa\tb\tc\n4\t5\t6\n", "r.tsv", ONE)["X"].tolist() == [[4, 5, 6]]


def test_columns_go_to_the_inputs_of_their_names_and_others_are_left() -> None:
    found = rows('name,label,age\n"a, b",x,1\nü,y,2\n', "r.csv", TWO)
    assert found["age"].tolist() == [[1], [2]]
    assert found["name"].tolist() == [["a, b"], ["ü"]]


def test_numbered_columns_make_a_wide_input() -> None:
    spec = specs(X=("FP32", (-1, 2)), y=("INT32", (-1,)))
    found = rows("X.0,y,X.1\n1,7,2\n", "r.csv", spec)
    assert found["X"].tolist() == [[1, 2]]
    assert found["y"].tolist() == [7]


def test_chosen_columns() -> None:
    assert rows("id,a,b,c\n9,1,2,3\n", "r.csv", ONE, "c", "a", "b")["X"].tolist() == [[3, 1, 2]]
    with pytest.raises(InvalidArgument, match="no column 'z', there are id, a"):
        rows("id,a\n9,1\n", "r.csv", ONE, "z")


def test_inner_dimensions_are_filled() -> None:
    line = ",".join(map(str, range(12)))
    assert rows(f"{line}\n{line}\n", "r.csv", specs(X=("FP32", (-1, 1, 3, 4))))["X"].shape == (2, 1, 3, 4)
    assert rows(f"{line}\n", "r.csv", specs(X=("FP32", (-1, 3, -1))))["X"].shape == (1, 3, 4)
    assert rows("1,2\n3,4\n", "r.csv", specs(X=("FP32", (4,))))["X"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "spec", "says"),
    [
        ("a,b\n1,2\n", ONE, "input 'X' takes 3 columns, found 2; --columns"),
        ("a,b,c\n1,x,3\n", ONE, "row 1, column 'b': found 'x', expected FP32"),
        ("a,b,c\n1,2\n", ONE, "line 2: found 2 columns, expected 3"),
        ("a,b,c\n", ONE, "a header and no rows"),
        ("", ONE, "is empty"),
        ("age,x\n1,2\n", TWO, "no column for input 'name', there are age, x"),
        ("age,name\n1.5,a\n", TWO, "row 1, column 'age': found '1.5', expected INT64"),
        ("b\nmaybe\n", specs(b=("BOOL", (-1, 1))), "found 'maybe', expected BOOL"),
        ("u\n300\n", specs(u=("UINT8", (-1, 1))), "values do not fit its datatype UINT8"),
        ("u\n-1\n", specs(u=("UINT64", (-1, 1))), "values do not fit its datatype UINT64"),
        ("u\n99999999999999999999\n", specs(u=("INT64", (-1, 1))), "values do not fit its datatype INT64"),
        ("a,b\n1,2\n", specs(X=("FP32", (-1, -1, -1))), "which no table fits"),
        ('a,b\n"1,2\n', ONE, "unexpected end of data"),
    ],
)
def test_what_does_not_fit_is_named(text: str, spec: dict[str, TensorSpec], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        rows(text, "r.csv", spec)


def test_json_as_records_as_a_mapping_and_as_bare_values() -> None:
    records = json.dumps([{"name": "a", "age": 1}, {"age": 2, "name": "b"}])
    assert rows(records, "r.json", TWO)["age"].tolist() == [[1], [2]]
    mapping = json.dumps({"name": [["a"]], "age": [[1]]})
    assert rows(mapping, "r.json", TWO)["name"].tolist() == [["a"]]
    assert rows("[[1, 2, 3]]", "r.json", ONE)["X"].tolist() == [[1, 2, 3]]
    assert rows("[1, 2, 3]", "r.json", ONE)["X"].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('[{"a": 1}, {"b": 1}]', "record 1: its names are not those of the first one"),
        ('{"Y": 1}', "no input 'Y', the model has X"),
        ("[[1, 2, 3], [1]]", "rows are not of the same length"),
        ('[["a", "b", "c"]]', "values do not fit its datatype FP32"),
        ("[[1, 2, null]]", "values do not fit its datatype FP32"),
    ],
)
def test_json_that_does_not_fit_is_named(text: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        rows(text, "r.json", ONE)


def test_values_for_one_input_where_there_are_two() -> None:
    with pytest.raises(InvalidArgument, match="the model has age, name: give them by name"):
        rows("[1]", "r.json", TWO)


def test_npy_and_npz() -> None:
    np.save("r.npy", np.arange(6.0).reshape(2, 3))
    assert read_rows(Path("r.npy"), ONE)["X"].dtype == np.float32
    np.savez("r.npz", age=np.array([[3]]), name=np.array([["a"]]))
    assert read_rows(Path("r.npz"), TWO)["name"].tolist() == [["a"]]


def test_a_pickle_is_not_read() -> None:
    np.save("r.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidArgument, match="cannot be loaded"):
        read_rows(Path("r.npy"), ONE)


def test_another_kind_of_file() -> None:
    with pytest.raises(InvalidArgument, match=r"expected a file that ends in .csv"):
        read_rows(Path("r.parquet"), ONE)


def test_integers_are_neither_rounded_nor_wrapped() -> None:
    spec = specs(i=("INT8", (-1,)))["i"]
    assert as_input([1.0, 2.0], spec).tolist() == [1, 2]
    for wrong in ([1.5], [128], [float("nan")]):
        with pytest.raises(InvalidArgument):
            as_input(wrong, spec)


@given(npst.arrays(np.float32, 5, elements=st.floats(width=32, allow_nan=False)))
def test_bf16_is_the_nearest(values: np.ndarray) -> None:
    array = as_input(values, specs(b=("BF16", (-1,)))["b"])
    assert array.dtype == BFLOAT16
    back = as_numbers(array)
    finite = np.isfinite(back)
    exact, found = values[finite].astype(np.float64), back[finite].astype(np.float64)
    assert np.all(np.abs(exact - found) <= np.abs(exact) * 2.0**-8 + 1e-40)


def test_rows_in_batches() -> None:
    inputs = {"a": np.arange(5), "b": np.arange(10).reshape(5, 2)}
    assert [len(batch["b"]) for batch in batches(inputs, 2)] == [2, 2, 1]
    assert [len(batch["b"]) for batch in batches(inputs, 0)] == [5]


@given(
    st.lists(st.text(max_size=3), min_size=1, max_size=3, unique=True),
    st.lists(st.lists(st.text(max_size=3), min_size=3, max_size=3), min_size=1, max_size=3),
    st.sampled_from(sorted(DATA_TYPES)),
)
def test_any_table_is_an_input_or_an_error_that_says_why(
    header: list[str], table: list[list[str]], datatype: str
) -> None:
    spec = specs(X=(datatype, (-1, len(header))))
    try:
        found = from_table(header, [row[: len(header)] for row in table], spec)["X"]
    except InvalidArgument:
        return
    assert found.dtype == DATA_TYPES[datatype].dtype
    assert len(found) == len(table)
