from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from gateway.core.errors import InvalidArgument
from gateway.models.onnx.graph import Graph
from gateway.models.onnx.wire import Wire, field, runs, varint

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
        model, graph = onnx.load(path), Graph.read(path)
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
    graph = Graph.read(make.save(model, tmp_path))
    assert [(v.name, v.kind, v.shape) for v in graph.inputs] == [
        ("x", "tensor", ()),
        ("s", "sequence", None),
        ("o", "optional", None),
        ("p", "sparse tensor", None),
    ]


# ------------------------------------------------------------------------------------------ external data


def stored(name: str, location: str, **more: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_finds_external_data_wherever_a_tensor_can_be(tmp_path: Path, make: Any) -> None:
    model = make.identity(TensorProto.FLOAT, ["N"])
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=stored("deep", "deep.bin", length="8"))],
        "inner",
        [],
        [],
        [stored("inner", "inner.bin")],
    )
    model.graph.initializer.append(stored("plain", "plain.bin", offset="4096", length="24"))
    sparse = model.graph.sparse_initializer.add(dims=[4, 4])
    sparse.values.CopyFrom(stored("values", "values.bin"))
    sparse.indices.CopyFrom(stored("indices", "indices.bin"))
    model.graph.node.extend(
        [
            helper.make_node("If", ["x"], [], then_branch=inner),
            helper.make_node("Odd", [], [], tensors=[stored("listed", "listed.bin")], graphs=[inner]),
        ]
    )
    attribute = model.graph.node[-1].attribute.add(name="s", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.values.CopyFrom(stored("attribute", "attribute.bin"))
    training = model.training_info.add()
    training.initialization.initializer.append(stored("init", "init.bin"))
    training.algorithm.initializer.append(stored("algorithm", "algorithm.bin"))
    function = model.functions.add(name="f", domain="d")
    function.node.append(helper.make_node("Constant", [], ["c"], value=stored("function", "function.bin")))
    function.attribute_proto.append(helper.make_attribute("a", stored("default", "default.bin")))

    graph = Graph.read(make.save(model, tmp_path))
    expected = {
        "plain", "values", "indices", "deep", "inner", "listed", "attribute", "init", "algorithm", "function",
        "default",
    }  # fmt: skip
    assert {item.tensor for item in graph.externals} == expected
    found = {item.tensor: item for item in graph.externals}
    assert all(item.location == f"{name}.bin" for name, item in found.items())
    assert (found["plain"].offset, found["plain"].length) == (4096, 24)
    assert (found["inner"].offset, found["inner"].length) == (0, 24)  # 2 by 3 floats, as no length is given


def test_external_data_inside_the_folder_is_fine(tmp_path: Path, make: Any) -> None:
    folder = tmp_path / "1"
    graph = Graph.read(make.external(make.linear(), folder))
    assert [item.tensor for item in graph.externals] == ["w"]
    graph.check_external(folder)
    (folder / "weights.bin").rename(folder / "other.bin")
    (folder / "weights.bin").symlink_to("other.bin")
    graph.check_external(folder)


def linked(folder: Path, outside: Path) -> None:
    (folder / "data").symlink_to(outside)


def linked_folder(folder: Path, outside: Path) -> None:
    (folder / "sub").symlink_to(outside.parent)


def hard_linked(folder: Path, outside: Path) -> None:
    os.link(outside, folder / "data")


def piped(folder: Path, outside: Path) -> None:
    os.mkfifo(folder / "data")


def circular(folder: Path, outside: Path) -> None:
    (folder / "data").symlink_to("data")


def short(folder: Path, outside: Path) -> None:
    (folder / "data").write_bytes(b"123")


def nothing(folder: Path, outside: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("location", "arrange", "reason"),
    [
        ("../secret", nothing, "relative"),
        ("a/../../secret", nothing, "relative"),
        ("/etc/passwd", nothing, "relative"),
        ("", nothing, "not the name"),
        ("a\0b", nothing, "not the name"),
        ("*/_ORT_MEM_ADDR_/*", nothing, "not the name"),
        ("missing", nothing, "No such file"),
        (".", nothing, "regular"),
        ("data", linked, "leads out"),
        ("sub/secret", linked_folder, "leads out"),
        ("data", hard_linked, "hard links"),
        ("data", piped, "regular"),
        ("data", circular, "cannot be read"),
        ("data", short, "3 bytes, expected at least 24"),
        ("x" * 5000, nothing, "cannot be read"),
    ],
)
def test_unsafe_external_data(
    tmp_path: Path, make: Any, location: str, arrange: Callable[[Path, Path], None], reason: str
) -> None:
    outside = tmp_path / "outside" / "secret"
    outside.parent.mkdir()
    outside.write_bytes(bytes(100))
    folder = tmp_path / "1"
    model = make.identity(TensorProto.FLOAT, ["N"])
    model.graph.initializer.append(stored("w", location))
    path = make.save(model, folder)
    arrange(folder, outside)
    with pytest.raises(InvalidArgument) as caught:
        Graph.read(path).check_external(folder)
    assert reason in caught.value.message
    assert "'w'" in caught.value.message
    assert location in caught.value.message


def test_a_tensor_written_in_two_parts_hides_nothing(tmp_path: Path, make: Any) -> None:
    first = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    first.external_data.add(key="offset", value="0")
    second = TensorProto()
    second.external_data.add(key="location", value="../secret")
    parts = field(5, first.SerializeToString()) + field(5, second.SerializeToString())
    node = field(4, b"Constant") + field(5, field(1, b"value") + parts)
    path = tmp_path / "model.onnx"
    path.write_bytes(make.linear().SerializeToString() + field(7, field(1, node)))
    assert onnx.load(path, load_external_data=False).graph.node[-1].attribute[0].t.external_data[1].value
    with pytest.raises(InvalidArgument, match=r"secret|not the name"):
        Graph.read(path).check_external(tmp_path)


@pytest.mark.parametrize("amount", ["-1", "1e3", "0x10", "9" * 30, "", "\uff11"])
def test_absurd_amounts(tmp_path: Path, make: Any, amount: str) -> None:
    model = make.identity(TensorProto.FLOAT, ["N"])
    model.graph.initializer.append(stored("w", "w.bin", length=amount))
    with pytest.raises(InvalidArgument, match="length"):
        Graph.read(make.save(model, tmp_path))


# ------------------------------------------------------------------------------------------ malformed files


@pytest.fixture(scope="module")
def seeds(make: Any) -> list[bytes]:
    nested = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "n", [], [])
    model = make.linear()
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=nested, floats=[1.0, 2.0], ints=[3]))
    model.graph.initializer.append(stored("w2", "w.bin", length="8"))
    return [
        make.classifier(["cat", "dog", "cow"]).SerializeToString(),
        model.SerializeToString(),
        next(path.read_bytes() for path in SAMPLES if path.stat().st_size > 500),
    ]


def read_or_refuse(path: Path) -> None:
    with contextlib.suppress(InvalidArgument):
        graph = Graph.read(path)
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
                Graph.read(path)


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
        Graph.read(path)
    assert str(tmp_path) not in caught.value.message


def test_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("missing.onnx", "No such file"), (".", "not a regular"), ("pipe", "not a regular")):
        with pytest.raises(InvalidArgument, match=reason):
            Graph.read(tmp_path / name)


def test_bulk_written_one_field_an_element_is_skipped(tmp_path: Path, make: Any) -> None:
    model = make.identity(TensorProto.FLOAT, ["N"])
    floats, ints = [0.5] * 100_000, list(range(-500, 99_500))
    node = helper.make_node("Odd", ["x"], ["z"], floats=floats, ints=ints, strings=["LEAF", "x" * 100] * 10_000)
    model.graph.node.extend([node, helper.make_node("Next", ["z"], ["a"])])
    assert ("", "Next") in Graph.read(make.save(model, tmp_path)).operators
    path = tmp_path / "model.onnx"
    with Wire(path) as wire:
        for _, _, begin, end, _ in wire.fields((0, wire.size)):
            nodes = list(wire.fields((begin, end)))
            if len(nodes) > 2:
                attributes = [item[2:4] for item in wire.fields(nodes[1][2:4]) if item[0] == 5]
                left = [sum(1 for _ in wire.fields(span, runs(fixed32=7, varint=8, texts=9))) for span in attributes]
                # name and type, and of the strings those of 100 bytes
                assert sorted(left) == [2, 2, 10_002]


@given(st.integers(0, 2**64 - 1))
def test_varint_is_protobufs(value: int) -> None:
    tensor = TensorProto(uint64_data=[value])
    assert tensor.SerializeToString().endswith(varint(value))


# ------------------------------------------------------------------------------------------ ZipMap


def run(model: bytes, x: np.ndarray) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: x}), strict=True))


@pytest.mark.parametrize("labels", [[0, 1], [3, 5, 9], ["cat", "dog"], ["a", "b", "ü"], [-2, 7]])
def test_zipmap_becomes_its_tensor(tmp_path: Path, make: Any, labels: list[Any]) -> None:
    model = make.classifier(labels)
    graph = Graph.read(make.save(model, tmp_path))
    assert [zipmap.classes for zipmap in graph.zipmaps] == [tuple(map(str, labels))]
    spliced = graph.without_zipmap()
    assert spliced is not None
    onnx.checker.check_model(onnx.ModelProto.FromString(spliced))
    x = np.random.default_rng(2).normal(size=(5, 4)).astype(np.float32)
    before, after = run(model.SerializeToString(), x), run(spliced, x)
    assert list(before) == list(after) == ["output_label", "output_probability"]
    assert before["output_label"].tolist() == after["output_label"].tolist()
    rows = [[row[label] for label in labels] for row in before["output_probability"]]
    np.testing.assert_array_equal(after["output_probability"], np.array(rows, np.float32))
    assert Graph.read(make.save(onnx.ModelProto.FromString(spliced), tmp_path)).outputs[1].shape == (-1, len(labels))


def test_several_zipmaps_and_a_tensor_with_other_readers(tmp_path: Path, make: Any) -> None:
    model = make.model(
        [
            helper.make_node("Softmax", ["x"], ["p"]),
            helper.make_node("ZipMap", ["p"], ["m1"], domain="ai.onnx.ml", classlabels_int64s=[4, 5]),
            helper.make_node("ZipMap", ["p"], ["m2"], domain="ai.onnx.ml", classlabels_strings=["a", "b"]),
            helper.make_node("Neg", ["p"], ["n"]),
        ],
        [("x", TensorProto.FLOAT, ["N", 2])],
        [("p", TensorProto.FLOAT, ["N", 2]), ("n", TensorProto.FLOAT, ["N", 2])],
    )
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    for name, key in (("m1", TensorProto.INT64), ("m2", TensorProto.STRING)):
        kind = helper.make_map_type_proto(key, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        value = helper.make_value_info(name, helper.make_sequence_type_proto(kind))
        model.graph.output.insert(1, value)
    spliced = Graph.read(make.save(model, tmp_path)).without_zipmap()
    assert spliced is not None
    out = run(spliced, np.array([[1, 2], [3, 1]], np.float32))
    assert list(out) == ["p", "m2", "m1", "n"]
    for name in ("m1", "m2"):
        np.testing.assert_array_equal(out[name], out["p"])
    np.testing.assert_array_equal(out["n"], -out["p"])


def test_a_zipmap_that_is_read_inside_the_graph_stays(tmp_path: Path, make: Any) -> None:
    model = make.classifier([0, 1])
    model.graph.node.append(helper.make_node("Identity", ["output_probability"], ["again"]))
    assert Graph.read(make.save(model, tmp_path)).zipmaps == ()


def test_no_zipmap_nothing_to_do(tmp_path: Path, make: Any) -> None:
    assert Graph.read(make.save(make.linear(), tmp_path)).without_zipmap() is None


def test_splicing_keeps_weights(tmp_path: Path, make: Any) -> None:
    model = make.classifier([0, 1])
    weight = np.arange(200_000, dtype=np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "big"))
    spliced = Graph.read(make.save(model, tmp_path)).without_zipmap()
    assert spliced is not None
    after = onnx.ModelProto.FromString(spliced)
    np.testing.assert_array_equal(numpy_helper.to_array(after.graph.initializer[-1]), weight)
    assert after.opset_import == model.opset_import
