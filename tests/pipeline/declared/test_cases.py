from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.stream import Batch
from gateway.pipeline.declared.cases import Case, beside, read_cases
from gateway.pipeline.declared.comparing import differences
from gateway.pipeline.declared.problem import StreamError
from gateway.pipeline.scoring.scored import Scored

pytestmark = pytest.mark.usefixtures("folder")


def cases(text: str) -> list[Case]:
    Path("s.test.yaml").write_text(text)
    return read_cases(Path("s.test.yaml"), {"N": "7"})


def test_records_in_every_form() -> None:
    Path("one.bin").write_bytes(b"\x01\x02")
    (case,) = cases("""
        name: forms
        in:
          - plain ${N}
          - {text: t, key: k, id: i, headers: {a: b}}
          - {base64: AQI=}
          - {hex: "01 02"}
          - {file: one.bin}
          - null
    """)
    assert case.name == "forms"
    assert list(case.batch.values) == [b"plain 7", b"t", b"\x01\x02", b"\x01\x02", b"\x01\x02", None]
    assert case.batch.keys[1] == b"k"
    assert case.batch.ids[:2] == ["record-1", "i"]
    assert case.batch.headers[1] == (("a", b"b"),)


@pytest.mark.parametrize(
    ("how", "data", "values"),
    [
        ("", b"a\nb\r\n", [b"a", b"b"]),
        (", records: fixed, length: 2", b"aabb", [b"aa", b"bb"]),
        (", records: rdw", b"\0\x05\0\0a\0\x06\0\0bb", [b"a", b"bb"]),
    ],
)
def test_all_records_of_a_file(how: str, data: bytes, values: list[bytes]) -> None:
    Path("in.dat").write_bytes(data)
    (case,) = cases(f"cases: [{{in: {{file: in.dat{how}}}, out: {{file: in.dat}}}}]")
    assert list(case.batch.values) == values
    assert case.name == "s.test"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "s.test.yaml: there is no case in it"),
        ("cases: []", "s.test.yaml:1: cases: found a list, expected a list that is not empty"),
        ("in: []", "s.test.yaml:1: in: there is no record in it"),
        ("in: [{text: a, hex: '00'}]", "s.test.yaml:1: in[0]: expected one of text, base64, hex, file"),
        ("in: [{hex: 'xy'}]", "s.test.yaml:1: in[0]: cannot be read: non-hexadecimal number"),
        ("in: [{base64: '='}]", "s.test.yaml:1: in[0]: cannot be read: "),
        ("cases:\n- in: [a]\n- in: [{file: no}]", "s.test.yaml:3: cases[1].in[0]: cannot be read: No such file"),
        ("inn: [a]", "s.test.yaml:1: inn: is no setting here, did you mean 'in'?"),
        ("in: [a]\ndead: [{record: 0}]", "s.test.yaml:2: dead[0].record: found 0, expected an integer of at least 1"),
    ],
)
def test_what_is_no_case(text: str, says: str) -> None:
    with pytest.raises(StreamError) as raised:
        cases(text)
    assert any(line.startswith(says) for line in raised.value.message.split("\n")), raised.value.message


def test_they_lie_beside_the_stream() -> None:
    Path("a").mkdir()
    Path("a/s.test").mkdir()
    for name in ("a/s.test.yaml", "a/s.test/two.yml", "a/s.test/one.yaml", "a/s.test/notes.txt", "a/t.test.yaml"):
        Path(name).write_text("in: []")
    stream: Any = SimpleNamespace(name="s", places=SimpleNamespace(file="a/s.yaml"))
    assert [str(path) for path in beside(stream)] == ["a/s.test.yaml", "a/s.test/one.yaml", "a/s.test/two.yml"]


def compared(text: str, values: dict[int, bytes], errors: dict[int, str] | None = None) -> list[str]:
    (case,) = cases(text)
    rows = sorted(values)
    batch = Batch([case.batch.ids[row] for row in rows], [values[row] for row in rows])
    return [str(problem) for problem in differences(case, Scored(batch, rows, errors or {}), None)]


def test_what_holds() -> None:
    text = """
        in: [a, b, c]
        out: [exact, {fields: {s: 0.5, o: {x: [1, null]}, p.q: yes}}]
        dead: [{record: 2, reason: missing}]
    """
    values = {0: b"exact", 2: b'{"s":0.50000001,"o":{"x":[1,null]},"p":{"q":"yes"}}'}
    assert compared(text, values, {1: "field 'a' is missing"}) == []


@pytest.mark.parametrize(
    ("out", "value", "says"),
    [
        ("x", b"y", "s.test.yaml:2: out[0] (of record 1): expected x"),
        ("{fields: {s: 1.5}}", b'{"s":1.6}', "s.test.yaml:2: out[0] (of record 1): field 's' is 1.6, expected 1.5"),
        ("{fields: {s: 1}}", b'{"s":true}', "field 's' is true, expected 1"),
        ("{fields: {s: 1}}", b'{"s":null}', "field 's' is null, expected 1"),
        ("{fields: {s: 1}}", b"{}", "field 's' is not there, expected 1: {}"),
        ("{fields: {s: 1}}", b"\xff", "its fields cannot be read"),
        ("{hex: ff}", b"\xfe", "expected ff"),
        ("{fields: {s: [1, 2]}}", b'{"s":[1]}', "field 's' is [1], expected [1,2]"),
    ],
)
def test_what_differs_is_told(out: str, value: bytes, says: str) -> None:
    found = compared(f"in: [a]\nout: [{out}]", {0: value})
    assert any(says in line for line in found), found


def test_a_tolerance_of_its_own() -> None:
    text = "in: [a]\nout: [{fields: {s: 1.5}, tolerance: 0.1}]\ntolerance: 0"
    assert compared(text, {0: b'{"s":1.6}'}) == []
    assert compared("in: [a]\nout: [{fields: {s: 1.5}}]\ntolerance: 0", {0: b'{"s":1.5000001}'})


def test_too_many_too_few_and_dead() -> None:
    assert compared("in: [a, b]\nout: [x]", {0: b"x", 1: b"z"}) == [
        "s.test.yaml:1: out: 2 results, expected 1",
        "s.test.yaml:1: out[1] (of record 2): is not expected: z",
    ]
    assert compared("in: [a, b]\nout: [x, y]", {0: b"x"}, {1: "why"}) == [
        "s.test.yaml:1: record 2: became a dead letter: why",
        "s.test.yaml:1: out: 1 results, expected 2",
        "s.test.yaml:2: out: did not come: y",
    ]
    assert compared("in: [a]\ndead: [{record: 1, reason: no}]", {}, {0: "why"}) == [
        "s.test.yaml:1: record 1: the reason is 'why', expected 'no' in it"
    ]
    assert compared("in: [a]\nout: [x]\ndead: [{record: 1}]", {0: b"x"}) == [
        "s.test.yaml:1: record 1: had to become a dead letter, and did not"
    ]
