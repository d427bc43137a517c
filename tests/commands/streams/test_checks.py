"""`sluice streams validate`, `dry-run` and `test` as an operator types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gateways import running as serving
from streaming import Place

from gateway.cli import run as sluice


def test_a_good_stream_says_what_holds(place: Place) -> None:
    done = place.sluice("validate", "double.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.split("\n")
    assert lines[0] == "double (double.yaml): good"
    assert lines[1] == "  model      affine, version 2"
    assert lines[2] == "  writes     id (the record's id), y (the model's y[0]), version (the model's $version)"
    assert lines[3].startswith("  guarantee  exactly once: folder")
    assert lines[4].startswith("  order      records of a key stay in the order")
    assert not (place.folder / ".sluice").exists()
    assert not (place.folder / "out").exists()


def test_a_stream_of_the_settings_is_found_by_its_name(place: Place) -> None:
    (place.folder / "sluice.yaml").write_text("models: models\nstreams: [double.yaml]\n")
    assert place.sluice("validate", "double").stdout.startswith("double (double.yaml): good")
    inner = "".join(f"    {line}\n" for line in (place.folder / "double.yaml").read_text().splitlines())
    (place.folder / "sluice.yaml").write_text(f"models: models\nstreams:\n  twice:\n{inner}")
    assert place.sluice("validate", "twice").stdout.startswith("twice (sluice.yaml): good")
    assert "double: cannot be read: No such file" in place.sluice("validate", "double").stderr


def test_several_problems_are_lines_and_exit_code_2(place: Place) -> None:
    place.stream("double", "affin", "guarantee: exactly once\nlanes: 2\n")
    place.stream("more", "{name: affine, version: canary}", "dead_letters: {files: {path: dead}}\nlanes: x\n")
    done = place.sluice("validate", "double.yaml", "more.yaml")
    assert done.returncode == 2
    assert done.stderr.split("\n")[:1] == ["sluice: more.yaml:8: lanes: found 'x', expected an integer from 1 to 256"]
    place.stream(
        "more", "{name: affine, version: canary}", "guarantee: exactly once\ndead_letters: {memory: {topic: t}}\n"
    )
    found = place.sluice("validate", "double.yaml", "more.yaml").stderr.split("\n")
    assert found[0] == "sluice: double.yaml:4: model: there is no model 'affin' in 'models', which has 'affine'"
    assert found[1].startswith("sluice: double.yaml:8: lanes: lanes is 2, expected 1: ")
    assert found[2] == "sluice: more.yaml:4: model.version: model 'affine' has no label 'canary', there are '1', '2'"
    assert found[3].startswith("sluice: more.yaml:7: guarantee: 'exactly once' is demanded, what holds is at least")
    assert found[4:] == [""]


def test_labels_of_the_settings_count(place: Place) -> None:
    place.stream("double", "{name: affine, version: canary}")
    (place.folder / "sluice.yaml").write_text("labels: {affine: {canary: 1}}\nstreams: [double.yaml]\n")
    assert "affine, version 1\n" in place.sluice("validate").stdout


def test_the_models_of_a_gateway_that_runs(place: Place) -> None:
    place.stream("more", "{name: affine, version: 7}")
    with serving(place.folder / "models", place.folder / "state", grpc_port="off") as server:
        (place.folder / "models").rename(place.folder / "elsewhere")
        done = place.sluice("validate", "double.yaml", "--url", server.rest)
        assert "affine, version 2\n" in done.stdout.replace("1, 2", "2"), done.stderr
        refused = place.sluice("validate", "more.yaml", "--url", server.rest)
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"sluice: more.yaml:4: model.version: {server.rest}: ")
        (place.folder / "elsewhere").rename(place.folder / "models")


def test_a_dry_run_changes_nothing(place: Place) -> None:
    place.feed("a.jsonl", [*place.records(1, 2), "broken"])
    done = place.sluice("dry-run", "double.yaml", "--json", "-n", "3")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [json.loads(line["out"]) for line in lines[:2]] == [{"id": n, "y": 3.0 * n, "version": "2"} for n in (1, 2)]
    assert lines[2]["in"] == "broken"
    assert "it is no JSON object" in lines[2]["dead"]
    assert (place.folder / "in" / "a.jsonl").exists()
    assert not (place.folder / "out").exists()
    assert place.sluice("dry-run", "double.yaml", "-n", "1").stdout.endswith('/0  {"id":1,"y":3.0,"version":"2"}\n')
    assert place.sluice("dry-run", "double.yaml", "-n", "9", "--wait", "0.2").stdout.count("\n") == 3


def test_tests_beside_a_stream(place: Place) -> None:
    assert place.sluice("test", "double.yaml").stdout.startswith("FAILED  double: it has no tests, expected")
    tests = place.folder / "double.test.yaml"
    tests.write_text("""
cases:
  - name: good
    in: ['{"id": 1, "a": 2, "b": 0, "c": 0}', '{}']
    out: [{fields: {id: 1, y: 6}}]
    dead: [{record: 2, reason: "'a' is missing"}]
  - name: bad
    in: ['{"id": 1, "a": 2, "b": 0, "c": 0}']
    out: [{fields: {y: 7}}]
""")
    done = place.sluice("test", "double.yaml")
    assert done.returncode == 1
    assert done.stdout == (
        "good    double: good\n"
        "FAILED  double: bad\n"
        "    double.test.yaml:9: out[0] (of record 1): field 'y' is 6.0, expected 7\n"
    )
    assert done.stderr == "2 tests, 1 failed\n"
    tests.write_text(tests.read_text().replace("y: 7", "y: 6"))
    done = place.sluice("test", "double.yaml")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 tests, 0 failed")


def test_results_that_are_not_json_are_compared_by_field_too(place: Place) -> None:
    text = (place.folder / "double.yaml").read_text()
    fields = "fields: {id: id, y: 'y[0]'}"
    for encode in (
        f"{{format: csv, {fields}}}",
        f"{{format: fixed, layout: {{id: {{start: 0, width: 4}}, y: {{start: 4, width: 9, scale: 2}}}}, {fields}}}",
    ):
        (place.folder / "double.yaml").write_text(
            "\n".join(f"encode: {encode}" if line.startswith("encode") else line for line in text.split("\n"))
        )
        (place.folder / "double.test.yaml").write_text(
            'in: [\'{"id": "7", "a": 2.5, "b": 0, "c": 0}\']\nout: [{fields: {id: "7", y: 7.5}}]'
        )
        done = place.sluice("test", "double.yaml")
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("streams validate", "no streams: name their files, or folders of them, or set `streams` in the settings"),
        ("streams validate no.yaml", "no.yaml: cannot be read: No such file or directory"),
        ("streams validate s.yaml --set a", "--set: expected KEY=VALUE, found 'a'"),
        ("streams list --admin-url http://127.0.0.1:1", "no answer from http://127.0.0.1:1"),
    ],
)
def test_wrong_use(
    line: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sluice(line.split()) in (1, 2)
    assert says in capsys.readouterr().err
