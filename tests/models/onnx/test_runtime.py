from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from gateway.core.errors import DeadlineExceeded, InvalidArgument, SluiceError, Unavailable
from gateway.core.tensor import BFLOAT16, DATA_TYPES
from gateway.models.config import ModelConfig, TensorConfig, Threading
from gateway.models.onnx import OnnxModel, Runtime

F = TensorProto.FLOAT
FP32 = DATA_TYPES["FP32"]
rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(1)


@pytest.fixture(autouse=True)
def silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    assert capfd.readouterr().err == ""


class Loader:
    def __init__(self, runtime: Runtime, folder: Path, make: Any) -> None:
        self.runtime, self.folder, self.make = runtime, folder, make

    def __call__(self, model: onnx.ModelProto, **config: Any) -> OnnxModel:
        path = self.make.save(model, self.folder / "1")
        return self.runtime.load(path, ModelConfig(**config))


@pytest.fixture
def load(runtime: Runtime, tmp_path: Path, make: Any) -> Loader:
    return Loader(runtime, tmp_path / "model", make)


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    dtype = DATA_TYPES[name].dtype
    if name == "BYTES":
        return np.array([f"ü{i}\0" for i in range(int(np.prod(shape)))], object).reshape(shape)
    if name == "BF16":
        return rng.integers(0, 2**16, shape).astype("<u2").view(BFLOAT16).reshape(shape)
    return np.asarray(rng.integers(0, 100, shape)).astype(dtype)


# ------------------------------------------------------------------------------------------ types and shapes


@pytest.mark.parametrize("name", DATA_TYPES)
@pytest.mark.parametrize("shape", [(3, 2), (0, 2), ()])
def test_every_type(load: Loader, name: str, shape: tuple[int, ...]) -> None:
    model = load(load.make.identity(DATA_TYPES[name].onnx, ["N", *shape[1:]] if shape else []))
    assert model.signature.inputs["x"].datatype.name == name
    assert model.signature.outputs["y"].shape == ((-1, 2) if shape else ())
    x = np.asarray(values(name, shape))
    (y,) = model.run({"x": x}, ["y"])
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert y.tolist() == x.tolist()
    if shape:
        wide = values(name, (4, 6))
        for view in (wide[:, ::3], wide.T[:, :2], wide[::-1, 4:]):
            (y,) = model.run({"x": view}, ["y"])
            assert y.tolist() == view.tolist()


def test_bfloat16_beside_other_types(load: Loader) -> None:
    nodes = [
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Identity", ["f"], ["g"]),
        helper.make_node("Constant", [], ["s"], value_strings=["x", "ü"]),
    ]
    inputs = [("a", TensorProto.BFLOAT16, ["N"]), ("f", F, ["N"])]
    outputs = [("b", TensorProto.BFLOAT16, ["N"]), ("g", F, ["N"]), ("s", TensorProto.STRING, [2])]
    model = load(load.make.model(nodes, inputs, outputs))
    a, f = values("BF16", (3,)), values("FP32", (3,))
    s, b, g = model.run({"a": a, "f": f}, ["s", "b", "g"])
    assert (s.tolist(), b.tolist(), g.tolist()) == (["x", "ü"], a.tolist(), f.tolist())

    inputs.append(("t", TensorProto.STRING, ["N"]))
    with pytest.raises(InvalidArgument, match="input 't' is BYTES beside BF16"):
        load(load.make.model(nodes, inputs, outputs))


def test_outputs_in_the_order_asked_for(load: Loader) -> None:
    model = load(
        load.make.model(
            [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Abs", ["x"], ["b"])],
            [("x", F, ["N"])],
            [("a", F, ["N"]), ("b", F, ["N"])],
        )
    )
    x = np.array([1, -2], np.float32)
    assert [y.tolist() for y in model.run({"x": x}, ("b", "a"))] == [[1, 2], [-1, 2]]
    assert [y.tolist() for y in model.run({"x": x}, ["a"], model.run_options())] == [[-1, 2]]


def test_an_output_that_is_left_out(load: Loader) -> None:
    node = helper.make_node("Dropout", ["x"], ["y", ""])
    model = load(load.make.model([node], [("x", F, ["N"])], [("y", F, ["N"])]))
    assert model.signature.output_names == ("y",)


@pytest.mark.parametrize("kind", ["sequence", "optional", "float8", "output"])
def test_types_that_no_protocol_carries(load: Loader, kind: str) -> None:
    tensor = helper.make_tensor_type_proto(F, ["N"])
    types = {
        "sequence": helper.make_sequence_type_proto(tensor),
        "optional": helper.make_optional_type_proto(tensor),
        "float8": helper.make_tensor_type_proto(TensorProto.FLOAT8E4M3FN, ["N"]),
    }
    model = load.make.identity(F, ["N"], opset=20)
    if kind == "output":
        model.graph.node[0].CopyFrom(helper.make_node("SequenceConstruct", ["x"], ["y"]))
        model.graph.output[0].type.CopyFrom(types["sequence"])
        expected = r"output 'y' is of the type seq\(tensor\(float\)\)"
    else:
        model.graph.input[0].type.CopyFrom(types[kind])
        model.graph.output[0].type.CopyFrom(types[kind])
        expected = "input 'x' is of the type"
    with pytest.raises(InvalidArgument, match=expected):
        load(model)


def test_shapes(load: Loader) -> None:
    model = load.make.model(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [("a", F, ["N", None, 3]), ("b", F, [])],
        [("y", F, None)],
    )
    signature = load(model).signature
    assert [spec.shape for spec in signature.inputs.values()] == [(-1, -1, 3), ()]
    assert signature.outputs["y"].shape == (-1, -1, 3)
    assert not signature.batched


def test_an_input_of_any_rank_needs_its_dims_declared(load: Loader) -> None:
    model = load.make.model([helper.make_node("Neg", ["x"], ["y"])], [("x", F, None)], [("y", F, None)])
    with pytest.raises(InvalidArgument, match="input 'x' has no shape"):
        load(model)
    signature = load(model, max_batch_size=4, inputs=(TensorConfig("x", FP32, (2, -1)),)).signature
    assert signature.inputs["x"].shape == (-1, 2, -1)
    assert signature.outputs["y"].shape == (-1,)
    assert signature.max_batch_size == 4


def test_optional_inputs_with_a_default_are_not_asked_for(load: Loader) -> None:
    model = load.make.linear()
    model.graph.input.append(helper.make_tensor_value_info("w", F, [4, 3]))
    assert list(load(model).signature.inputs) == ["x"]


# ------------------------------------------------------------------------------------------ the batch axis


def test_batched_by_its_shapes_and_the_probe(load: Loader) -> None:
    signature = load(load.make.linear()).signature
    assert (signature.batched, signature.max_batch_size) == (True, 0)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Softmax", ["x"], ["y"], axis=0),
        helper.make_node("CumSum", ["x", "zero"], ["y"]),
        helper.make_node("LpNormalization", ["x"], ["y"], axis=0),
        helper.make_node("RandomUniformLike", ["x"], ["y"]),
        helper.make_node("Reshape", ["x", "flat"], ["y"]),
        helper.make_node("Reshape", ["x", "pair"], ["y"]),
    ],
    ids=lambda node: f"{node.op_type}-{node.input[-1]}",
)
def test_rows_that_depend_on_each_other(load: Loader, node: Any) -> None:
    weights = {"zero": np.array(0), "flat": np.array([-1, 2]), "pair": np.array([-1, 8])}
    used = {name: value for name, value in weights.items() if name in node.input}
    signature = load(load.make.model([node], [("x", F, ["N", 4])], [("y", F, [None, None])], used)).signature
    assert not signature.batched
    assert signature.inputs["x"].shape == (-1, 4)
    assert signature.max_batch_size == 0


def test_a_fixed_first_dimension(load: Loader) -> None:
    signature = load(load.make.linear(rows=1)).signature
    assert not signature.batched
    assert signature.inputs["x"].shape == (1, 4)
    with pytest.raises(InvalidArgument, match="'max_batch_size' is 8, but input 'x' has the shape"):
        load(load.make.linear(rows=1), max_batch_size=8)


def test_declared_batching(load: Loader) -> None:
    wishes = {"inputs": (TensorConfig("x", FP32, (4,)),), "outputs": (TensorConfig("y", FP32, (3,)),)}
    signature = load(load.make.linear(), max_batch_size=8, **wishes).signature
    assert (signature.batched, signature.max_batch_size) == (True, 8)
    assert signature.inputs["x"].shape == (-1, 4)
    whole = load(load.make.linear(), max_batch_size=0, inputs=(TensorConfig("x", FP32, (5, 4)),)).signature
    assert (whole.batched, whole.inputs["x"].shape) == (False, (5, 4))


@pytest.mark.parametrize(
    ("field", "wish", "reason"),
    [
        ("inputs", TensorConfig("z", FP32, (4,)), "field 'input' names 'z', the model's inputs are 'x'"),
        ("outputs", TensorConfig("z", FP32, (4,)), "field 'output' names 'z', the model's outputs are 'y'"),
        ("inputs", TensorConfig("x", DATA_TYPES["FP64"], (4,)), "'data_type' of input 'x' is FP64, the model has FP32"),
        ("inputs", TensorConfig("x", FP32, (5,)), "'dims' of input 'x' is [5], the model has [4]"),
        ("inputs", TensorConfig("x", FP32, (-1,)), "'dims' of input 'x' is [-1], the model has [4]"),
        ("inputs", TensorConfig("x", FP32, (4, 1)), "'dims' of input 'x' is [4, 1], the model has [4]"),
        ("outputs", TensorConfig("y", FP32, (3,), reshape=(3, 1)), "'reshape' of output 'y' is [3, 1]"),
    ],
)
def test_declarations_that_do_not_fit(load: Loader, field: str, wish: TensorConfig, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load(load.make.linear(), max_batch_size=8, **{field: (wish,)})
    assert reason in caught.value.message


def test_only_declared_outputs_are_served(load: Loader) -> None:
    config = {"outputs": (TensorConfig("output_probability", FP32, (2,)),), "max_batch_size": 4}
    assert load(load.make.classifier([0, 1]), **config).signature.output_names == ("output_probability",)


def test_reshape(load: Loader) -> None:
    model = load.make.model(
        [helper.make_node("Neg", ["x"], ["y"])], [("x", F, ["N", "K", 2])], [("y", F, ["N", "K", 2])]
    )
    wishes = {
        "inputs": (TensorConfig("x", FP32, (-1,), reshape=(-1, 2)),),
        "outputs": (TensorConfig("y", FP32, (2, -1), reshape=(-1, 2)),),
    }
    with pytest.raises(InvalidArgument, match=r"'dims' of input 'x' is"):
        load(model, max_batch_size=4, inputs=(TensorConfig("x", FP32, (-1,)),))
    wishes["inputs"] = (TensorConfig("x", FP32, (1, -1, 2), reshape=(-1, 2)),)
    loaded = load(model, max_batch_size=4, **wishes)
    assert loaded.signature.inputs["x"].shape == (-1, 1, -1, 2)
    assert loaded.signature.outputs["y"].shape == (-1, 2, -1)
    x = np.arange(12, dtype=np.float32).reshape(2, 1, 3, 2)
    (y,) = loaded.run({"x": x}, ["y"])
    assert y.shape == (2, 2, 3)
    assert y.ravel().tolist() == (-x).ravel().tolist()


def test_reshape_to_a_scalar_per_row(load: Loader) -> None:
    model = load.make.identity(F, ["N"])
    wish = (TensorConfig("x", FP32, (1,), reshape=()),)
    loaded = load(model, max_batch_size=4, inputs=wish)
    assert loaded.run({"x": np.ones((3, 1), np.float32)}, ["y"])[0].shape == (3,)


# ------------------------------------------------------------------------------------------ labels, ZipMap


def test_labels_from_a_file(load: Loader, tmp_path: Path) -> None:
    load.folder.mkdir()
    (load.folder / "names.txt").write_text("cat\r\ndög\n\nlast\n", encoding="utf-8")
    wish = (TensorConfig("y", FP32, (3,), label_file="names.txt"),)
    assert load(load.make.linear(), max_batch_size=1, outputs=wish).signature.outputs["y"].labels == (
        "cat", "dög", "", "last",
    )  # fmt: skip


def test_label_files_stay_in_the_model_folder(load: Loader, tmp_path: Path) -> None:
    load.folder.mkdir()
    (tmp_path / "outside.txt").write_text("secret")
    (load.folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    (load.folder / "latin.txt").write_bytes(b"\xe9")
    for name, reason in (
        ("link.txt", "not in the model's folder"),
        ("../outside.txt", "not in the model's folder"),
        ("missing.txt", "No such file"),
        ("1", "not a regular file"),
        ("latin.txt", "UTF-8"),
    ):
        with pytest.raises(InvalidArgument, match=reason) as caught:
            load(load.make.linear(), max_batch_size=1, outputs=(TensorConfig("y", FP32, (3,), label_file=name),))
        assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize(("labels", "expected"), [([0, 1], ()), ([3, 5], ("3", "5")), (["b", "a"], ("a", "b"))])
def test_zipmap_is_served_as_a_tensor(load: Loader, labels: list[Any], expected: tuple[str, ...]) -> None:
    loaded = load(load.make.classifier(labels))
    spec = loaded.signature.outputs["output_probability"]
    assert (spec.datatype.name, spec.shape, spec.labels) == ("FP32", (-1, 2), expected)
    assert loaded.signature.batched
    plain = load(load.make.classifier(labels, {"zipmap": False}))
    x = rng.normal(size=(7, 4)).astype(np.float32)
    mine = loaded.run({"X": x}, loaded.signature.output_names)
    theirs = plain.run({"X": x}, plain.signature.output_names)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


# ------------------------------------------------------------------------------------------ external data, bad files


def test_external_data(runtime: Runtime, make: Any, tmp_path: Path) -> None:
    model = make.linear()
    x = rng.normal(size=(2, 4)).astype(np.float32)
    inside = runtime.load(make.save(model, tmp_path / "a" / "1"), ModelConfig()).run({"x": x}, ["y"])
    loaded = runtime.load(make.external(model, tmp_path / "b" / "1"), ModelConfig())
    np.testing.assert_array_equal(loaded.run({"x": x}, ["y"])[0], inside[0])
    (tmp_path / "b" / "1" / "weights.bin").rename(tmp_path / "b" / "weights.bin")
    (tmp_path / "b" / "1" / "weights.bin").symlink_to("../weights.bin")
    with pytest.raises(InvalidArgument, match="leads out"):
        runtime.load(tmp_path / "b" / "1" / "model.onnx", ModelConfig())


def test_external_data_with_zipmap(runtime: Runtime, make: Any, tmp_path: Path) -> None:
    model = make.model(
        [
            helper.make_node("Gemm", ["x", "w"], ["h"]),
            helper.make_node("Softmax", ["h"], ["p"]),
            helper.make_node("ZipMap", ["p"], ["m"], domain="ai.onnx.ml", classlabels_int64s=[4, 5, 6]),
        ],
        [("x", F, ["N", 64])],
        [],
        {"w": np.ones((64, 3), np.float32)},
    )
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(F, []))
    model.graph.output.append(helper.make_value_info("m", helper.make_sequence_type_proto(kind)))
    loaded = runtime.load(make.external(model, tmp_path / "m" / "1"), ModelConfig())
    assert loaded.run({"x": np.ones((2, 64), np.float32)}, ["m"])[0].shape == (2, 3)


def test_models_that_do_not_load(load: Loader, tmp_path: Path) -> None:
    unknown = load.make.model([helper.make_node("Nope", ["x"], ["y"])], [("x", F, ["N"])], [("y", F, ["N"])])
    missing = load.make.model([helper.make_node("Neg", ["z"], ["y"])], [("x", F, ["N"])], [("y", F, ["N"])])
    for model, reason in ((unknown, "Nope"), (missing, "z"), (load.make.identity(F, ["N"], opset=99), "opset")):
        with pytest.raises(InvalidArgument, match=reason) as caught:
            load(model)
        assert "/" not in caught.value.message
        assert caught.value.message.startswith("model.onnx cannot be loaded: ")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        load.runtime.load(tmp_path / "nothing", ModelConfig())


def test_unknown_provider() -> None:
    with pytest.raises(InvalidArgument, match="'NopeExecutionProvider' is not in this onnxruntime"):
        Runtime(1, ["NopeExecutionProvider"])


# ------------------------------------------------------------------------------------------ runs that fail


def pair(op: str, second: int, **attributes: Any) -> Any:
    return (
        [helper.make_node(op, ["a", "b"], ["y"], **attributes)],
        [("a", F, [None, None]), ("b", second, [None] if second != F else [None, None])],
        [("y", F, None)],
    )


A = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("model", "b", "reason"),
    [
        (pair("Add", F), np.zeros((4, 5), np.float32), "broadcast"),
        (pair("MatMul", F), np.zeros((4, 5), np.float32), "dimension mismatch"),
        (pair("Gather", TensorProto.INT64), np.array([7]), "idx=7 must be within the inclusive range"),
        (pair("Reshape", TensorProto.INT64), np.array([7]), "cannot be reshaped"),
        (pair("Concat", F, axis=0), np.zeros((4, 5), np.float32), "dimension"),
        (pair("Expand", TensorProto.INT64), np.array([5, 5, 5]), "broadcast|dimension|shape|expand"),
        (pair("Add", F), np.zeros(4, np.float32), "Invalid rank for input: b"),
        (pair("Add", F), np.zeros((4, 5)), "Unexpected input data type"),
    ],
)
def test_what_the_data_caused(load: Loader, model: Any, b: np.ndarray, reason: str) -> None:
    loaded = load(load.make.model(*model))
    with pytest.raises(InvalidArgument, match=f"(?i){reason}") as caught:
        loaded.run({"a": A, "b": b}, ["y"])
    message = caught.value.message
    assert not re.search(r"/\w+/", message)
    assert "onnxruntime" not in message
    assert "ONNXRuntimeError" not in message
    with pytest.raises(SluiceError):
        loaded.run({"a": A}, ["y"])


def test_strings_that_are_not_unicode(load: Loader) -> None:
    loaded = load(load.make.identity(TensorProto.STRING, ["N"]))
    with pytest.raises(InvalidArgument, match="Unicode"):
        loaded.run({"x": np.array(["\udc80"], object)}, ["y"])


def long_loop(make: Any) -> onnx.ModelProto:
    """x + 1, a hundred million times."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v", "one"], ["v_out"]),
            helper.make_node("Identity", ["c"], ["c_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", F, [1]),
        ],
        [
            helper.make_tensor_value_info("c_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", F, [1]),
        ],
    )
    return make.model(
        [helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)],
        [("x", F, [1]), ("n", TensorProto.INT64, [])],
        [("y", F, [1])],
        {"one": np.ones(1, np.float32)},
    )


def test_terminate(load: Loader) -> None:
    model = load(long_loop(load.make))
    x = np.zeros(1, np.float32)
    assert model.run({"x": x, "n": np.array(3)}, ["y"])[0].tolist() == [3]
    options = model.run_options()
    timer = threading.Timer(0.05, lambda: setattr(options, "terminate", True))
    timer.start()
    with pytest.raises(DeadlineExceeded):
        model.run({"x": x, "n": np.array(100_000_000)}, ["y"], options)
    timer.join()
    assert model.run({"x": x, "n": np.array(3)}, ["y"])[0].tolist() == [3]


def test_closed(load: Loader) -> None:
    model = load(load.make.linear())
    run = model.run
    model.close()
    with pytest.raises(Unavailable):
        run({"x": np.zeros((1, 4), np.float32)}, ["y"])


def test_many_threads_at_once(load: Loader) -> None:
    model = load(load.make.linear())
    wrong = []

    def work(seed: int) -> None:
        x = np.random.default_rng(seed).normal(size=(seed % 5 + 1, 4)).astype(np.float32)
        expected = model.run({"x": x}, ["y"])[0]
        answers = [model.run({"x": x}, ["y"])[0] for _ in range(300)]
        wrong.extend(answer for answer in answers if not np.allclose(answer, expected))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ------------------------------------------------------------------------------------------ the process

PROCESS = """
import json, logging, os, sys
from pathlib import Path
import numpy as np
from gateway.models.config import ModelConfig, Threading
from gateway.models.onnx import Runtime
logging.basicConfig(level=logging.ERROR)
threads = lambda: len(os.listdir("/proc/self/task"))
rss = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
path, size, own = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
x = np.zeros((64, 1024), np.float32)
out = {"threads": [threads()], "rss": []}
runtime = Runtime(size)
kept = []
for i in range(int(sys.argv[4])):
    model = runtime.load(path, ModelConfig(threading=Threading(intra_op=own)))
    model.run({"x": x}, ["y"])
    kept.append(model)
    out["threads"].append(threads())
    out["rss"].append(rss())
    if sys.argv[5] == "close":
        kept.pop().close()
        out["rss"][-1] = rss()
print(json.dumps(out))
"""


def process(path: Path, *arguments: object) -> Any:
    command = [sys.executable, "-c", PROCESS, str(path), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def large(make: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = make.save(make.linear(1024, 4096), tmp_path_factory.mktemp("large") / "1")
    return path


def test_threads_are_the_process_s(large: Path) -> None:
    start, *none = process(large, 1, 0, 4, "keep")["threads"]
    assert none == [start] * 4
    start, *shared = process(large, 3, 0, 4, "keep")["threads"]
    assert shared == [start + 2] * 4
    start, *own = process(large, 1, 2, 4, "keep")["threads"]
    assert own == [start + i for i in range(1, 5)]


def test_threads_of_its_own_beside_the_pool(large: Path) -> None:
    start, *both = process(large, 3, 2, 3, "keep")["threads"]
    assert both == [start + 2 + i for i in range(1, 4)]


def test_reloads_give_memory_back(large: Path) -> None:
    rss = process(large, 1, 0, 12, "close")["rss"]
    assert rss[-1] < rss[2] * 1.05 + 4
    # a model of 17 MB is gone
    assert rss[-1] < 110


def test_own_threads_answer_alike(load: Loader) -> None:
    x = rng.normal(size=(3, 4)).astype(np.float32)
    plain = load(load.make.linear()).run({"x": x}, ["y"])[0]
    own = load(load.make.linear(), threading=Threading(intra_op=2, inter_op=2)).run({"x": x}, ["y"])[0]
    np.testing.assert_allclose(plain, own, rtol=1e-6)
