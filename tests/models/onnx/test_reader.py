from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from gateway.core.errors import InvalidArgument
from gateway.models.onnx.reader import read_graph
from gateway.models.onnx.wire import Wire, field, runs

SAMPLES = sorted(Path(onnx.__file__).parent.glob("backend/test/data/*/*/model.onnx"))


def nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes(attribute.g)


def shape(value: Any) -> tuple[int, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim)


def test_agrees_with_the_onnx_package_on_its_own_models() -> None:
    assert len(SAMPLES) > 100
    for path in SAMPLES:
        model, graph = onnx.load(path), read_graph(path)
        for mine, theirs in ((graph.inputs, model.graph.input), (graph.outputs, model.graph.output)):
            assert [(v.name, v.element, v.shape) for v in mine] == [
                (v.name, v.type.tensor_type.elem_type, shape(v)) for v in theirs
            ], path
        assert graph.operators == {(node.domain, node.op_type) for node in nodes(model.graph)}, path
        assert graph.externals == ()


def test_kinds_of_values(tmp_path: Path, make: Any) -> None:
    model = make.identity(TensorProto.FLOAT, [])
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    optional = helper.make_value_info("o", helper.make_optional_type_proto(sequence.type))
    sparse = helper.make_value_info("p", helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, [2]))
    model.graph.input.extend([sequence, optional, sparse])
    graph = read_graph(make.save(model, tmp_path))
    assert [(v.name, v.kind, v.shape) for v in graph.inputs] == [
        ("x", "tensor", ()),
        ("s", "sequence", None),
        ("o", "optional", None),
        ("p", "sparse tensor", None),
    ]


def test_finds_external_data_wherever_a_tensor_can_be(tmp_path: Path, make: Any) -> None:
    model = make.identity(TensorProto.FLOAT, ["N"])
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=make.stored("deep", "deep.bin", length="8"))],
        "inner",
        [],
        [],
        [make.stored("inner", "inner.bin")],
    )
    model.graph.initializer.append(make.stored("plain", "plain.bin", offset="4096", length="24"))
    sparse = model.graph.sparse_initializer.add(dims=[4, 4])
    sparse.values.CopyFrom(make.stored("values", "values.bin"))
    sparse.indices.CopyFrom(make.stored("indices", "indices.bin"))
    model.graph.node.extend(
        [
            helper.make_node("If", ["x"], [], then_branch=inner),
            helper.make_node("Odd", [], [], tensors=[make.stored("listed", "listed.bin")], graphs=[inner]),
        ]
    )
    attribute = model.graph.node[-1].attribute.add(name="s", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.values.CopyFrom(make.stored("attribute", "attribute.bin"))
    training = model.training_info.add()
    training.initialization.initializer.append(make.stored("init", "init.bin"))
    training.algorithm.initializer.append(make.stored("algorithm", "algorithm.bin"))
    function = model.functions.add(name="f", domain="d")
    function.node.append(helper.make_node("Constant", [], ["c"], value=make.stored("function", "function.bin")))
    function.attribute_proto.append(helper.make_attribute("a", make.stored("default", "default.bin")))

    graph = read_graph(make.save(model, tmp_path))
    expected = {
        "plain", "values", "indices", "deep", "inner", "listed", "attribute", "init", "algorithm", "function",
        "default",
    }  # fmt: skip
    assert {item.tensor for item in graph.externals} == expected
    found = {item.tensor: item for item in graph.externals}
    assert all(item.location == f"{name}.bin" for name, item in found.items())
    assert (found["plain"].offset, found["plain"].length) == (4096, 24)
    assert (found["inner"].offset, found["inner"].length) == (0, 24)  # 2 by 3 floats, as no length is given


# ------------------------------------------------------------------------------------------ malformed files


@pytest.fixture(scope="module")
def seeds(make: Any) -> list[bytes]:
    nested = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "n", [], [])
    model = make.linear()
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=nested, floats=[1.0, 2.0], ints=[3]))
    model.graph.initializer.append(make.stored("w2", "w.bin", length="8"))
    return [
        make.classifier(["cat", "dog", "cow"]).SerializeToString(),
        model.SerializeToString(),
        next(path.read_bytes() for path in SAMPLES if path.stat().st_size > 500),
    ]


def read_or_refuse(path: Path) -> None:
    with contextlib.suppress(InvalidArgument):
        graph = read_graph(path)
        graph.without_zipmap()
        graph.check_external(path.parent)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_files_are_read_or_refused(tmp_path: Path, seeds: list[bytes], data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from("sxdi")):
            case "s":
                content[at] = data.draw(st.integers(0, 255))
            case "x":
                content[at] ^= 1 << data.draw(st.integers(0, 7))
            case "d":
                del content[at : at + data.draw(st.integers(1, 40))]
            case "i":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=12))
        content = content or bytearray(b"\0")
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    read_or_refuse(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_noise_is_refused_or_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    read_or_refuse(path)


def test_every_truncation_is_refused(tmp_path: Path, seeds: list[bytes]) -> None:
    # the graph is one field; what follows it is optional, so that a cut there leaves a whole model
    path = tmp_path / "model.onnx"
    for seed in seeds:
        graph = onnx.ModelProto.FromString(seed).graph.SerializeToString()
        end = seed.index(graph) + len(graph)
        for cut in {*range(0, end, 7), *range(end - 40, end)}:
            path.write_bytes(seed[:cut])
            with pytest.raises(InvalidArgument):
                read_graph(path)


def deep_graph(levels: int) -> bytes:
    content = b""
    for _ in range(levels):
        content = field(1, field(5, field(6, content)))
    return field(7, content + field(12, field(1, b"y")))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no graph"),
        (b"ORTM" * 100, "wire type"),
        (deep_graph(40), "nested deeper"),
        (b"\x00", "field number 0"),
        (b"\x3b", "wire type 3"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "more than ten bytes"),
        (b"\x3a\xff\xff\xff\xff\x07", "after its message"),
        (b"\xff\xff\xff\xff\x7f", "field number"),
        (b"\x3a\x80", "within a number"),
        (field(7, b""), "no outputs"),
        (field(7, field(12, field(1, b"\xff\xfe"))), "UTF-8"),
        (field(7, field(1, field(4, b"x" * 70_000))), "name of 70000 bytes"),
    ],
)
def test_malformed(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidArgument, match=reason) as caught:
        read_graph(path)
    assert str(tmp_path) not in caught.value.message


def test_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("missing.onnx", "No such file"), (".", "not a regular"), ("pipe", "not a regular")):
        with pytest.raises(InvalidArgument, match=reason):
            read_graph(tmp_path / name)


def test_bulk_written_one_field_an_element_is_skipped(tmp_path: Path, make: Any) -> None:
    model = make.identity(TensorProto.FLOAT, ["N"])
    floats, ints = [0.5] * 100_000, list(range(-500, 99_500))
    node = helper.make_node("Odd", ["x"], ["z"], floats=floats, ints=ints, strings=["LEAF", "x" * 100] * 10_000)
    model.graph.node.extend([node, helper.make_node("Next", ["z"], ["a"])])
    assert ("", "Next") in read_graph(make.save(model, tmp_path)).operators
    path = tmp_path / "model.onnx"
    with Wire(path) as wire:
        for _, _, begin, end, _ in wire.fields((0, wire.size)):
            nodes = list(wire.fields((begin, end)))
            if len(nodes) > 2:
                attributes = [item[2:4] for item in wire.fields(nodes[1][2:4]) if item[0] == 5]
                left = [sum(1 for _ in wire.fields(span, runs(fixed32=7, varint=8, texts=9))) for span in attributes]
                # name and type, and of the strings those of 100 bytes
                assert sorted(left) == [2, 2, 10_002]
