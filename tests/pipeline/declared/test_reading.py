from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.codecs.records.mapping import REQUIRED, Pick
from gateway.core.stream import Delivery
from gateway.pipeline.declared.problem import StreamError
from gateway.pipeline.declared.reading import SECTIONS, expand, read, read_all

GOOD = """\
input:
  toy: {url: u}
decode: {format: json}
map: {X: [a]}
model: m
encode: {format: json, fields: [a]}
output: {toy: {url: u}}
"""


def problems(text: str, environ: dict[str, str] | None = None) -> list[str]:
    Path("s.yaml").write_text(dedent(text))
    with pytest.raises(StreamError) as raised:
        read("s.yaml", environ or {})
    return raised.value.message.split("\n")


def changed(**sections: str | None) -> str:
    """The good stream with other sections; each is the text behind its key, None for none."""
    document = yaml.safe_load(GOOD)
    lines = []
    for key in [*document, *(key for key in sections if key not in document)]:
        text = sections.get(
            key, yaml.safe_dump(document.get(key), default_flow_style=True).removesuffix("...\n").strip()
        )
        if text is not None:
            lines.append(f"{key}: {text}")
    return "\n".join(lines)


@pytest.mark.usefixtures("folder")
class TestRead:
    def test_all_that_a_stream_may_say(self) -> None:
        Path("fraud.yaml").write_text(
            dedent("""
            input:
              toy:
                url: ${URL}/x
                password: 0123            # digits are a text here
                port: ${PORT}
                size: 64KiB
                mode: fast
                names: [a, "1", 2]
                rate: 5
                more: {x: 1}
                place: {row: 3}
            decode: {format: csv, header: [id, a, b]}
            map:
              X: [a, {field: b, default: 0.5, type: number}]
              Y: {jmespath: "c.d", width: 3}
            model: {name: m, version: 2}
            encode: {format: json, fields: {"x.id": id, p: "probabilities[1]"}}
            output: {toy: {url: u}}
            dead_letters: {toy: {url: v}}
            errors: {attempts: 3, backoff: {initial: 1}}
            batching: {rows: 10, linger: 0.5, bytes_in_flight: 1MiB}
            lanes: 7
            guarantee: at least once
            order: per key
            """)
        )
        stream = read("fraud.yaml", {"URL": "http://h", "PORT": "99"})
        assert stream.name == "fraud"
        settings = stream.input.settings
        assert (settings.url, settings.password, settings.port, settings.size) == ("http://h/x", "0123", 99, 65536)
        assert (settings.names, settings.rate, settings.more, settings.place.row) == (("a", "1", "2"), 5.0, {"x": 1}, 3)
        assert stream.decode.header == ("id", "a", "b")
        assert stream.entries[0].picks == (Pick("a", REQUIRED), Pick("b", 0.5))
        assert stream.entries[1].picks == (Pick("c.d", REQUIRED, True),)
        assert stream.entries[1].width == 3
        assert stream.types == {("X", 1): "number"}
        assert (stream.model.name, stream.model.version) == ("m", "2")
        assert (stream.policy.errors.attempts, stream.policy.errors.backoff.initial) == (3, 1.0)
        assert stream.policy.batching.bytes_in_flight == 1 << 20
        assert (stream.policy.lanes, stream.guarantee, stream.order) == (7, Delivery.AT_LEAST_ONCE, "per key")
        assert str(stream.places.problem("map.X[1].default", "m")) == "fraud.yaml:15: map.X[1].default: m"

    def test_the_least_that_a_stream_may_say(self) -> None:
        Path("s.yaml").write_text(GOOD)
        stream = read("s.yaml", {})
        assert stream.dead_letters is None
        assert stream.guarantee is None
        assert stream.model.version == ""

    def test_several_errors_are_told_at_once_each_with_its_line(self) -> None:
        assert problems("""\
            input:
              toy:
                url: ""
                prot: 5
                size: big
                mode: slow
                names: a
                more: {x: y}
                place: {column: 1}
                port: 70000
            decode: {format: jsno}
            mapp: {X: [a]}
            model: {name: [m]}
            encode: {format: json}
            lanes: 0
            guarantee: twice
            """) == [
            "s.yaml:1: output: is missing",
            "s.yaml:3: input.toy.url: found '', expected a text that is not empty",
            "s.yaml:4: input.toy.prot: is no setting here, did you mean 'port'?",
            "s.yaml:5: input.toy.size: found 'big', expected a size in bytes, as in 65536 or 64KiB, of at least 1",
            "s.yaml:6: input.toy.mode: found 'slow', expected one of 'fast', 'safe'",
            "s.yaml:7: input.toy.names: found 'a', expected a list",
            "s.yaml:8: input.toy.more.x: found 'y', expected an integer",
            "s.yaml:9: input.toy.place.row: is missing, expected an integer",
            "s.yaml:10: input.toy.port: found 70000, expected an integer from 1 to 65535",
            "s.yaml:11: decode.format: there is no format 'jsno', did you mean 'json'?",
            "s.yaml:12: mapp: is no section, did you mean 'map'?",
            "s.yaml:13: model.name: found a list, expected a text that is not empty",
            "s.yaml:14: encode.fields: is missing, expected a mapping that is not empty or a list that is not empty",
            "s.yaml:15: lanes: found 0, expected an integer from 1 to 256",
            "s.yaml:16: guarantee: found 'twice', expected one of 'at most once', 'at least once', 'exactly once'",
        ]

    @pytest.mark.parametrize(
        ("section", "text", "says"),
        [
            ("input", "{kafak: {}}", "1: input: there is no adapter 'kafak', did you mean 'kafka'?"),
            ("input", "{toy: {url: u}, memory: {}}", "1: input: found toy, memory, expected one adapter"),
            ("input", "[]", "1: input: found a list, expected an adapter and its settings, as in {files: {path: …}}"),
            ("input", "", "1: input: found nothing, expected an adapter"),
            ("input", "{toy: {url: u, mode: fast, loud: true}}", "1: input.toy: 'fast' cannot be loud"),
            ("input", "{needy: }", "1: input: adapter 'needy' needs the package"),
            ("decode", "{}", "2: decode.format: is missing, expected one of json, jsonl, csv"),
            ("decode", "csv", "2: decode.header: is missing, expected a list that is not empty"),
            ("decode", "oip-json", "3: map: is not for infer requests"),
            ("map", "{X: []}", "3: map.X: found an empty list, expected fields"),
            ("map", "{}", "3: map: is empty, expected the model's inputs"),
            ("map", "{X: [{default: 1}]}", "3: map.X[0]: expected one of 'field' and 'jmespath'"),
            ("map", "{X: [{feild: a}]}", "3: map.X[0].feild: is no setting here, did you mean 'field'?"),
            ("map", None, "1: map: is missing"),
            ("name", "a/b", "7: name: found 'a/b', expected letters, digits"),
            ("order", "all", "7: order: found 'all', expected 'per key', or no such line"),
            ("errors", "{attempts: -1}", "7: errors.attempts: found -1, expected an integer of at least 0"),
            ("batching", "{linger: .inf}", "7: batching.linger: found .inf, expected a number of at least 0"),
        ],
    )
    def test_what_a_section_cannot_be(self, section: str, text: str | None, says: str) -> None:
        assert problems(changed(**{section: text}))[0].startswith(f"s.yaml:{says}")

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "s.yaml: there is no stream in it"),
            ("[1]", "s.yaml:1: found a list, expected the sections of a stream"),
            ("a: [", "s.yaml:1: not YAML: while parsing a flow node"),
            (
                "a: {b: ${C}}",
                "s.yaml:1: not YAML: while parsing a flow mapping expected ',' or '}', but got '{'; a ${NAME}",
            ),
            ("a: \x01", "s.yaml: not YAML: unacceptable character"),
            ("--- 1\n--- 2", "s.yaml:2: not YAML: expected a single document"),
            ("? [a]\n: b", "s.yaml:1: found a list as a key, expected a text"),
            (GOOD + "lanes: 1\nlanes: 2", "s.yaml:9: lanes: is there twice"),
            (GOOD + "lanes: &a [*a]", "s.yaml:8: lanes: found a list, expected an integer"),
            (changed(map="{X: [{field: a, default: &x [*x]}]}"), "s.yaml:3: map.X[0].default"),
            ("a: " + "[" * 5000, "s.yaml: it is nested too deeply"),
        ],
    )
    def test_what_is_no_stream_at_all(self, text: str, says: str) -> None:
        Path("s.yaml").write_text(text)
        with pytest.raises(StreamError) as raised:
            read("s.yaml", {})
        assert any(line.startswith(says) for line in raised.value.message.split("\n")), raised.value.message

    @pytest.mark.parametrize(
        ("text", "value"),
        [("1", 1), ("'1'", "1"), ("true", True), ("null", None), ("", None), ("x", "x"), ("1.5", "1.5"), ("${N}", 7)],
    )
    def test_what_may_be_of_several_types_is_as_yaml_has_it(self, text: str, value: object) -> None:
        toy = f"\n  toy:\n    url: u\n    mark: {text}\n    urls: [a, 1]"
        Path("s.yaml").write_text(changed(input=toy))
        settings = read("s.yaml", {"N": "7"}).input.settings
        assert settings.mark == value
        assert type(settings.mark) is type(value)
        assert settings.urls == ["a", "1"]

    def test_a_file_that_is_not_there(self) -> None:
        with pytest.raises(StreamError, match=r"^no.yaml: cannot be read: No such file or directory$"):
            read("no.yaml", {})

    def test_a_secret_is_in_no_message(self) -> None:
        text = changed(
            input='{toy: {url: u, port: "${SECRET}", mode: "${SECRET}", password: [hush], names: "${SECRET}"}}'
        )
        found = problems(text, {"SECRET": "hush-hush"})
        assert len(found) == 4
        assert not any("hush" in line for line in found)
        assert found[0] == "s.yaml:1: input.toy.port: found '${SECRET}', expected an integer from 1 to 65535"

    def test_an_unset_variable(self) -> None:
        assert problems(changed(input='{toy: {url: "${URL}"}}')) == [
            "s.yaml:1: input.toy.url: found ${URL}, but the environment has no variable URL"
        ]


@pytest.mark.usefixtures("folder")
class TestReferences:
    def test_a_folder_is_the_streams_in_it_without_their_tests(self) -> None:
        Path("f").mkdir()
        for name in ("b.yaml", "a.yml", "a.test.yaml", "notes.txt"):
            Path("f", name).write_text(GOOD)
        assert expand(["f", "x.yaml", "x.test.yaml"]) == ["f/a.yml", "f/b.yaml", "x.yaml"]
        with pytest.raises(StreamError, match=r"a\.test\.yaml: is a test of a stream: name the stream's own file"):
            expand(["f/a.test.yaml"])
        Path("g").mkdir()
        with pytest.raises(StreamError, match="the folder has no stream"):
            expand(["g"])

    def test_one_of_the_settings_has_the_lines_of_that_file(self) -> None:
        Path("a.yaml").write_text(GOOD)
        inner = "".join(f"    {line}\n" for line in GOOD.splitlines())
        Path("sluice.yaml").write_text(f"models: m\nstreams:\n  here:\n{inner}  there: a.yaml\n  bad:\n    inptu: 1\n")
        assert [stream.name for stream in read_all(["sluice.yaml#here", "sluice.yaml#there"], {})] == ["here", "a"]
        with pytest.raises(StreamError, match=r"sluice.yaml:13: inptu: is no section, did you mean 'input'\?"):
            read("sluice.yaml#bad", {})
        with pytest.raises(StreamError, match="there is no stream in it"):
            read("sluice.yaml#none", {})

    def test_the_problems_of_all_are_told_and_names_are_taken_once(self) -> None:
        Path("a.yaml").write_text(GOOD)
        Path("b.yaml").write_text(GOOD + "name: a\n")
        Path("c.yaml").write_text("lanes: 0")
        with pytest.raises(StreamError) as raised:
            read_all(["a.yaml", "b.yaml", "c.yaml"], {})
        lines = raised.value.message.split("\n")
        assert "c.yaml:1: lanes: found 0, expected an integer from 1 to 256" in lines
        assert "b.yaml:8: name: 'a' is in a.yaml already" in lines


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["${A}", "json", "toy"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


def attempt(text: str) -> None:
    """Read, or refused in lines that begin with the file's name."""
    Path("s.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    found = ["s.yaml:"]
    try:
        read("s.yaml", {"A": "1"})
    except StreamError as error:
        found = error.message.split("\n")
    assert all(line.startswith("s.yaml:") for line in found)


FEW = settings(
    max_examples=150, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.mark.usefixtures("folder")
class TestAnything:
    @FEW
    @given(st.text())
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        attempt(text)

    @FEW
    @given(st.dictionaries(st.sampled_from(SECTIONS), VALUES))
    def test_any_document_is_read_or_refused(self, document: dict[str, object]) -> None:
        attempt(yaml.safe_dump(document, allow_unicode=True))

    @FEW
    @given(st.lists(st.sampled_from([*GOOD.split("\n"), "  - a", "<<: *a", "&a", "*a", "? x", "|", "!!int x"])))
    def test_any_lines_are_read_or_refused(self, lines: list[str]) -> None:
        attempt("\n".join(lines))
