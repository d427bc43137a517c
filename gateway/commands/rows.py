"""Rows from a file, as the inputs of a model: .csv, .tsv, .json, .npy, .npz."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.core.errors import InvalidArgument
from gateway.core.tensor import BFLOAT16, STRING, Array, TensorSpec

Specs = Mapping[str, TensorSpec]

_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


def read_rows(path: Path, specs: Specs, columns: Sequence[str] = ()) -> dict[str, Array]:
    """One array for each input, of its datatype.

    columns   of a table, which ones to take, in this order; none: all

    Raises InvalidArgument that names the place in the file.
    """
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        return from_table(*_read_csv(path, "\t" if kind == ".tsv" else ","), specs, columns)
    if kind == ".json":
        return _from_json(path, specs, columns)
    if kind in (".npy", ".npz"):
        return _from_numpy(path, specs)
    raise InvalidArgument(f"'{path}': expected a file that ends in .csv, .tsv, .json, .npy or .npz")


def from_table(
    header: Sequence[str], rows: Sequence[Sequence[Any]], specs: Specs, columns: Sequence[str] = ()
) -> dict[str, Array]:
    """An input takes the column of its name, or the columns `name.0`, `name.1`…; a single one takes all of them."""
    if columns:
        if absent := [name for name in columns if name not in header]:
            raise InvalidArgument(f"no column '{absent[0]}', there are {', '.join(header)}")
        taken = [header.index(name) for name in columns]
        header, rows = list(columns), [[row[i] for i in taken] for row in rows]
    groups = {name: _columns_of(name, header) for name in specs}
    if len(specs) == 1 and not all(groups.values()):
        groups = {name: list(range(len(header))) for name in specs}
    if missing := [name for name, group in groups.items() if not group]:
        raise InvalidArgument(f"no column for input '{missing[0]}', there are {', '.join(header)}")
    return {
        name: _shaped([[row[i] for i in group] for row in rows], specs[name], [header[i] for i in group])
        for name, group in groups.items()
    }


def as_input(values: Any, spec: TensorSpec) -> Array:
    """Nested lists or an array → the input's dtype; a row without its batch dimension gets one."""
    try:
        array = np.asarray(values, dtype=object if spec.datatype.dtype == STRING else None)
    except ValueError as error:
        raise InvalidArgument(f"input '{spec.name}': rows are not of the same length") from error
    if array.ndim == len(spec.shape) - 1 and spec.shape[0] in (-1, 1):
        array = array[np.newaxis]
    return _cast(array, spec)


def as_numbers(array: Array) -> Array:
    """BF16 as FP32, which everybody can print; all else as it is."""
    return (array["bfloat16"].astype("<u4") << 16).view("<f4") if array.dtype == BFLOAT16 else array


def _read_csv(path: Path, delimiter: str) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            lines = [line for line in csv.reader(file, delimiter=delimiter, strict=True) if line]
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidArgument(f"'{path}': {error}") from error
    if not lines:
        raise InvalidArgument(f"'{path}' is empty")
    width = len(lines[0])
    for number, line in enumerate(lines, 1):
        if len(line) != width:
            raise InvalidArgument(f"'{path}', line {number}: found {len(line)} columns, expected {width}")
    if all(_is_number(cell) for cell in lines[0]):
        return [str(i) for i in range(width)], lines
    if len(lines) == 1:
        raise InvalidArgument(f"'{path}' has a header and no rows")
    return [cell.strip() for cell in lines[0]], lines[1:]


def _from_json(path: Path, specs: Specs, columns: Sequence[str]) -> dict[str, Array]:
    """Records, or a mapping from input to values, or the values of the only input."""
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"'{path}': not JSON: {error}") from error
    if isinstance(document, list) and document and all(isinstance(record, dict) for record in document):
        header = list(document[0])
        for number, record in enumerate(document):
            if set(record) != set(header):
                raise InvalidArgument(f"'{path}', record {number}: its names are not those of the first one")
        return from_table(header, [[record[name] for name in header] for record in document], specs, columns)
    return _by_input(path, document, specs)


def _from_numpy(path: Path, specs: Specs) -> dict[str, Array]:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InvalidArgument(f"'{path}': {error}") from error
    return _by_input(path, loaded if isinstance(loaded, np.ndarray) else dict(loaded), specs)


def _by_input(path: Path, values: Any, specs: Specs) -> dict[str, Array]:
    if not isinstance(values, dict):
        if len(specs) != 1:
            raise InvalidArgument(
                f"'{path}' holds the values of one input, the model has {', '.join(specs)}: give them by name"
            )
        values = {next(iter(specs)): values}
    if unknown := [name for name in values if name not in specs]:
        raise InvalidArgument(f"'{path}': no input '{unknown[0]}', the model has {', '.join(specs)}")
    return {name: as_input(value, specs[name]) for name, value in values.items()}


def _columns_of(name: str, header: Sequence[str]) -> list[int]:
    if name in header:
        return [header.index(name)]
    numbered = {column: i for i, column in enumerate(header) if column.startswith(name + ".")}
    order = [f"{name}.{i}" for i in range(len(numbered))]
    return [numbered[column] for column in order] if all(column in numbered for column in order) else []


def _shaped(rows: Sequence[Sequence[Any]], spec: TensorSpec, names: Sequence[str]) -> Array:
    """Cells → the input's shape: a row of cells is a row of the batch, or all of them fill a fixed shape."""
    cells = np.array(
        [[_cell(cell, spec, number, name) for cell, name in zip(row, names, strict=True)]
         for number, row in enumerate(rows, 1)],
        dtype=object,
    )  # fmt: skip
    shape = spec.shape
    inner = shape[1:]
    if shape and -1 not in shape and prod(shape) == cells.size:
        return _cast(cells.reshape(shape), spec)
    if not shape or inner.count(-1) > 1 or shape[0] not in (-1, len(rows)):
        raise InvalidArgument(f"input '{spec.name}' has shape {list(shape)}, which no table fits: use .npy or .json")
    width = len(names)
    if width != prod(inner) if -1 not in inner else width % -prod(inner):
        expected = prod(inner) if -1 not in inner else f"a multiple of {-prod(inner)}"
        raise InvalidArgument(
            f"input '{spec.name}' takes {expected} columns, found {width}; --columns a,b,… chooses some of them"
        )
    return _cast(cells.reshape(len(rows), *inner), spec)


def _cell(cell: Any, spec: TensorSpec, number: int, name: str) -> Any:
    """A cell is text where it comes from CSV."""
    kind = spec.datatype.dtype.kind
    try:
        if not isinstance(cell, str) or spec.datatype.dtype == STRING:
            return cell if spec.datatype.dtype != STRING else str(cell)
        if kind == "b":
            return _BOOLEANS[cell.strip().lower()]
        return int(cell) if kind in "iu" else float(cell)
    except (ValueError, KeyError) as error:
        raise InvalidArgument(
            f"row {number}, column '{name}': found '{cell}', expected {spec.datatype.name}"
        ) from error


def _cast(array: Array, spec: TensorSpec) -> Array:
    dtype = spec.datatype.dtype
    wrong = InvalidArgument(f"input '{spec.name}': values do not fit its datatype {spec.datatype.name}")
    if dtype == STRING:
        if not all(isinstance(value, str) for value in array.reshape(-1)):
            raise wrong
        return array.astype(object)
    try:
        if dtype == BFLOAT16:
            return _bfloat16(array.astype("<f4"))
        if array.dtype == STRING and any(value is None for value in array.reshape(-1)):
            raise wrong
        with np.errstate(invalid="ignore", over="ignore"):
            cast = array.astype(dtype)
        back = cast if dtype.kind == "f" else cast.astype(object)
    except (ValueError, TypeError, OverflowError) as error:
        raise wrong from error
    # Integers and booleans are not rounded or wrapped: what does not come back the same does not fit.
    if dtype.kind != "f" and not _equal(back, array.astype(object)):
        raise wrong
    return cast


def _equal(left: Array, right: Array) -> bool:
    return bool(np.all(left == right))


def _bfloat16(array: Array) -> Array:
    """Rounded to the nearest, ties to even; NaN stays NaN."""
    bits = array.view("<u4").astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype("<u2").view(BFLOAT16)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def batches(inputs: Mapping[str, Array], size: int) -> Iterable[dict[str, Array]]:
    """`size` rows at a time, 0 for all at once."""
    rows = min(len(array) if array.ndim else 1 for array in inputs.values())
    if not size or size >= rows:
        yield dict(inputs)
        return
    for start in range(0, rows, size):
        yield {name: array[start : start + size] for name, array in inputs.items()}
