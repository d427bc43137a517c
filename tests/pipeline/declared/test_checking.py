"""A stream against its model: every problem at its line, before anything is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.signature import Signature
from gateway.core.tensor import DATA_TYPES, TensorSpec
from gateway.pipeline.declared.checking import check
from gateway.pipeline.declared.reading import read

SIGNATURE = Signature(
    [TensorSpec("x", DATA_TYPES["FP32"], (-1, 2)), TensorSpec("n", DATA_TYPES["INT64"], (-1, 1))],
    [TensorSpec("p", DATA_TYPES["FP32"], (-1, 3)), TensorSpec("c", DATA_TYPES["INT64"], (-1,))],
    batched=True,
)
MAP = "{x: [a, {field: b, default: 0.5}], n: k}"
JSON = "{format: json}"
OUT = "{format: json, fields: [a, p]}"

Found = Callable[..., list[str]]

COPYBOOK = """\
       01  REC.
           05  A  PIC 9(4).
           05  B  PIC S9(3)V99 COMP-3.
           05  K  PIC 9(4) COMP.
"""


@pytest.fixture
def found(folder: Path) -> Found:
    def problems(decode: str = JSON, mapping: str | None = MAP, encode: str = OUT) -> list[str]:
        lines = ["input: {toy: {url: u}}", f"decode: {decode}", f"encode: {encode}", "model: m"]
        lines += ["output: {toy: {url: u}}", *([f"map: {mapping}"] if mapping else [])]
        Path("s.yaml").write_text("\n".join(lines))
        Path("schema.json").write_text('{"type": "object"}')
        Path("bad.json").write_text('{"type": 5}')
        Path("rec.cpy").write_text(COPYBOOK)
        return [str(problem) for problem in check(read("s.yaml", {}), SIGNATURE)]

    return problems


@pytest.mark.parametrize(
    ("decode", "mapping", "encode"),
    [
        (JSON, MAP, OUT),
        ("{format: json, schema: schema.json, strict: false}", "{x: q, n: [{jmespath: 'a[0].b'}]}", OUT),
        ("{format: csv, header: [a, b, k, z]}", MAP, "{format: csv, fields: [z, 'p[1]', $version, $model]}"),
        (
            "{format: fixed, layout: {a: {start: 0, width: 3}, b: {start: 3, width: 5, scale: 2},"
            " k: {start: 8, width: 2}}}",
            MAP,
            "{format: fixed, layout: {s: {start: 0, width: 9}}, fields: {s: 'p[0]'}}",
        ),
        (
            "{format: copybook, copybook: rec.cpy}",
            "{x: [A, B], n: K}",
            "{format: copybook, copybook: rec.cpy, fields: {B: 'p[0]', K: c}}",
        ),
        ("{format: columns}", MAP, "{format: columns, fields: [a, 'p[0]', c]}"),
        ("{format: oip-json}", None, "oip-json"),
        ("{format: oip-protobuf}", None, "oip-protobuf"),
        (JSON, "{x: [a, {field: b, type: number}], n: {field: k, type: integer}}", OUT),
    ],
)
def test_what_fits(found: Found, decode: str, mapping: str | None, encode: str) -> None:
    assert found(decode, mapping, encode) == []


@pytest.mark.parametrize(
    ("decode", "mapping", "encode", "says"),
    [
        (JSON, "{x: [a, b, c], n: k}", OUT, "s.yaml:6: map.x: takes 2 values a record (FP32 [-1, 2]), but 3 are"),
        (JSON, "{x: [a, b]}", OUT, "s.yaml:6: map.n: is an input of the model (INT64 [-1, 1]), but no field is mapped"),
        (JSON, "{x: [a, b], n: k, y: a}", OUT, "s.yaml:6: map.y: is no input of the model, which takes x, n"),
        (JSON, "{x: [a, {field: b, default: no}], n: k}", OUT, "s.yaml:6: map.x[1]: has the default 'no', which FP32"),
        (JSON, "{x: [a, 'b..c'], n: k}", OUT, "s.yaml:6: map.x[1]: field name 'b..c' is malformed at character 3"),
        (JSON, "{x: [a, {jmespath: '['}], n: k}", OUT, "s.yaml:6: map.x[1]: expression '[' is not JMESPath"),
        (
            JSON, "{x: [a, {field: b, type: integer}], n: k}", OUT,
            "s.yaml:6: map.x[1]: is said to be of type integer, expected number for FP32",
        ),
        (JSON, MAP, "{format: json, fields: {s: 'p[3]'}}", "s.yaml:3: encode.fields.s: element 3 of output 'p'"),
        (JSON, MAP, "{format: json, fields: {s: 'c[0]'}}", "s.yaml:3: encode.fields.s: element 0 of output 'c'"),
        (JSON, MAP, "{format: json, fields: {a: p, a.b: c}}", "s.yaml:3: encode: field 'a.b' is to be written within"),
        ("{format: json, schema: no.json}", MAP, OUT, "s.yaml:2: decode.schema: file 'no.json' cannot be read"),
        ("{format: json, schema: bad.json}", MAP, OUT, "s.yaml:2: decode.schema: schema 'bad.json' is no JSON Schema"),
        (
            "{format: csv, header: [a, b]}", MAP, OUT,
            "s.yaml:6: map.n: field 'k' is not among the CSV columns a, b",
        ),
        (
            "{format: csv, header: [a, b, k]}", MAP, "{format: json, fields: [a, scroe]}",
            "s.yaml:3: encode.fields[1]: field 'scroe' is not among the CSV columns a, b, k; the model gives 'p', 'c'",
        ),
        ("{format: csv, header: [a, b, k], delimiter: ab}", MAP, OUT, "s.yaml:2: decode: the delimiter of CSV is 'ab'"),
        ("{format: copybook, copybook: rec.cpy}", "{x: [A, Z], n: K}", OUT, "s.yaml:6: map.x[1]: "),
        ("{format: copybook, copybook: rec.cpy, encoding: cp999}", "{x: [A, B], n: K}", OUT, "s.yaml:2: decode: "),
        ("{format: columns}", "{x: [a, {jmespath: b}], n: k}", OUT, "s.yaml:6: map.x[1]: expression 'b' is for"),
        ("oip-json", None, OUT, "s.yaml:3: encode.format: expected the format of `decode`"),
        ("oip-json", None, "oip-protobuf", "s.yaml:3: encode.format: expected the format of `decode`"),
        (JSON, MAP, "oip-json", "s.yaml:3: encode.format: this format answers infer requests"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_where_it_is(
    found: Found,
    decode: str,
    mapping: str | None,
    encode: str,
    says: str,
) -> None:
    problems = found(decode, mapping, encode)
    assert any(problem.startswith(says) for problem in problems), problems


def test_all_of_it_at_once(found: Found) -> None:
    assert len(found(JSON, "{x: [a, b, c], y: [b]}")) == 3
