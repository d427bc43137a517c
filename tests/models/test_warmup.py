from __future__ import annotations

import logging
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from gateway.core.errors import InvalidArgument
from gateway.core.signature import Signature
from gateway.core.tensor import BFLOAT16, DATA_TYPES, TensorSpec
from gateway.models.config import ModelConfig, Warmup, WarmupInput
from gateway.models.cost import UNKNOWN, Cost, Growth
from gateway.models.onnx import OnnxModel, Runtime
from gateway.models.warmup import measure, sample, warm

F, I64, S = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
FP32, INT64, BYTES = DATA_TYPES["FP32"], DATA_TYPES["INT64"], DATA_TYPES["BYTES"]


class Loader:
    def __init__(self, folder: Path, make: Any) -> None:
        self.folder, self.make, self.runtime = folder, make, Runtime(1)

    def __call__(self, model: Any, **config: Any) -> OnnxModel:
        return self.runtime.load(self.make.save(model, self.folder / "1"), ModelConfig(**config))


@pytest.fixture
def load(tmp_path: Path, make: Any) -> Loader:
    return Loader(tmp_path / "model", make)


def signature(name: str, shape: tuple[int, ...], *, batched: bool = True) -> Signature:
    return Signature([TensorSpec("x", DATA_TYPES[name], shape)], [], batched=batched)


# ------------------------------------------------------------------------------------------ samples


@pytest.mark.parametrize("name", DATA_TYPES)
@pytest.mark.parametrize("kind", ["zero", "random"])
def test_samples_fit_their_signature(name: str, kind: Any) -> None:
    for shape, batched, expected in (
        ((-1, 3, -1), True, (5, 3, 1)),
        ((-1, 3), False, (1, 3)),
        ((), False, ()),
        ((0, 2), False, (0, 2)),
    ):
        wanted = signature(name, shape, batched=batched)
        inputs = sample(wanted, 5, kind)
        assert inputs["x"].shape == expected
        wanted.check(inputs)
        flat = inputs["x"].ravel().tolist()
        if kind == "zero" and shape:
            assert flat == np.zeros(len(flat), DATA_TYPES[name].dtype).tolist() or flat == [""] * len(flat)
        elif len(flat) > 10:
            assert len(set(flat)) > 1
        if name == "BYTES":
            assert all(isinstance(text, str) for text in flat)


@pytest.mark.parametrize("kind", ["zero", "random"])
def test_sizes_and_steps_are_1(load: Loader, kind: Any) -> None:
    """onnxruntime divides by the frame_length of STFT: at 0 the whole process dies of it."""
    assert sample(signature("INT64", (), batched=False), 1, kind)["x"].item() == 1
    assert sample(signature("FP32", (), batched=False), 1, "zero")["x"].item() == 0
    node = helper.make_node("STFT", ["signal", "step", "", "length"], ["y"])
    graph = helper.make_graph(
        [node],
        "stft",
        [
            helper.make_tensor_value_info("signal", F, [1, 16, 1]),
            *(helper.make_tensor_value_info(name, I64, []) for name in ("step", "length")),
        ],
        [helper.make_tensor_value_info("y", F, [1, "frames", "length", 2])],
    )
    model = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    warm(model, ModelConfig())
    measure(model, Cost(), Growth(64))


def test_random_samples_repeat_and_differ_by_input() -> None:
    two = Signature([TensorSpec(name, FP32, (-1, 4)) for name in "ab"], [], batched=True)
    one, again = sample(two, 3, "random"), sample(two, 3, "random")
    assert one["a"].tolist() == again["a"].tolist()
    assert one["a"].tolist() != one["b"].tolist()


def test_random_bfloat16_are_between_0_and_1() -> None:
    x = sample(signature("BF16", (-1, 100)), 2, "random")["x"]
    assert x.dtype == BFLOAT16
    floats = (x.view("<u2").astype("<u4") << 16).view("<f4")
    assert ((floats >= 0) & (floats < 1)).all()


# ------------------------------------------------------------------------------------------ the probe


@pytest.mark.parametrize("element", [F, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, I64, S])
def test_rows_that_are_independent(load: Loader, element: int) -> None:
    assert load(load.make.identity(element, ["N", 3])).signature.batched


def test_a_matrix_product_is_batched_in_spite_of_rounding(load: Loader) -> None:
    assert load(load.make.linear(3000, 50)).signature.batched


def test_an_embedding_takes_the_indices(load: Loader) -> None:
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    model = load(
        load.make.model(nodes, [("x", I64, ["N"])], [("y", F, ["N", 4])], {"table": np.eye(4, dtype=np.float32)})
    )
    assert model.signature.batched


@pytest.mark.parametrize(
    ("node", "shape"),
    [
        (helper.make_node("Sub", ["x", "mean"], ["y"]), ["N", 2]),
        (helper.make_node("ReduceSum", ["x", "axis"], ["y"], keepdims=1), [None, 2]),
        (helper.make_node("Transpose", ["x"], ["y"]), [None, None]),
        (helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0), None),
    ],
    ids=lambda value: getattr(value, "op_type", ""),
)
def test_rows_that_depend_on_each_other(load: Loader, node: Any, shape: Any) -> None:
    nodes, weights = [node], {}
    if "mean" in node.input:
        nodes.insert(0, helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0]))
    if "axis" in node.input:
        weights["axis"] = np.array([0])
    model = load(load.make.model(nodes, [("x", F, ["N", 2])], [("y", F, shape)], weights))
    assert not model.signature.batched


def test_a_model_that_refuses_the_random_data_does_not_agree(load: Loader) -> None:
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    model = load.make.model(nodes, [("x", I64, ["N"])], [("y", F, ["N"])], {"table": np.ones(1, np.float32)})
    assert not load(model).signature.batched
    assert load(model, max_batch_size=8).signature.batched  # as declared


def test_a_model_that_refuses_zeros_may_agree(load: Loader) -> None:
    model = load.make.model([helper.make_node("Cast", ["x"], ["y"], to=F)], [("x", S, ["N"])], [("y", F, ["N"])])
    assert load(model).signature.batched


# ------------------------------------------------------------------------------------------ warm-up


def declared(load: Loader, tmp_path: Path, **inputs: WarmupInput) -> None:
    config = ModelConfig(max_batch_size=4, warmup=(Warmup("first", 2, inputs, count=3),))
    warm(load(load.make.linear(), max_batch_size=4), config)


def test_declared_warm_up(load: Loader, tmp_path: Path) -> None:
    declared(load, tmp_path, x=WarmupInput(FP32, (4,), "random"))
    data = tmp_path / "row.bin"
    data.write_bytes(struct.pack("<4f", 1, 2, 3, 4))
    declared(load, tmp_path, x=WarmupInput(FP32, (4,), "zero", str(data)))


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"z": WarmupInput(FP32, (4,), "zero")}, "unexpected input 'z'"),
        ({}, "missing 'x'"),
        ({"x": WarmupInput(FP32, (5,), "zero")}, "unexpected shape [2, 5]"),
        ({"x": WarmupInput(INT64, (4,), "zero")}, "unexpected datatype INT64"),
        ({"x": WarmupInput(FP32, (4,), "zero", "/nowhere/row.bin")}, "input 'x' cannot be read: No such file"),
    ],
)
def test_a_declared_warm_up_that_fails(load: Loader, tmp_path: Path, inputs: Any, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        declared(load, tmp_path, **inputs)
    assert caught.value.message.startswith("warm-up 'first' failed: ")
    assert reason in caught.value.message
    assert "/nowhere" not in caught.value.message


def test_declared_data_of_strings(load: Loader, tmp_path: Path) -> None:
    model = load(load.make.identity(S, ["N", 2]), max_batch_size=4)
    data = tmp_path / "row.bin"

    def run(content: bytes) -> None:
        data.write_bytes(content)
        inputs = {"x": WarmupInput(BYTES, (2,), "zero", str(data))}
        warm(model, ModelConfig(max_batch_size=4, warmup=(Warmup("s", 3, inputs),)))

    good = struct.pack("<I", 3) + "aü".encode() + struct.pack("<I", 0)
    run(good)
    for bad, reason in (
        (good[:-1], "not a list"),
        (good[:4], "ends within"),
        (good + good, "4 elements, expected 2"),
        (struct.pack("<I", 1) + b"\xff" + bytes(4), "not a list"),
        (struct.pack("<I", 2**32 - 1) + b"a", "ends within"),
    ):
        with pytest.raises(InvalidArgument, match=reason):
            run(bad)


def test_zeros_that_nobody_declared_may_fail(load: Loader, caplog: pytest.LogCaptureFixture) -> None:
    model = load(
        load.make.model(
            [helper.make_node("Gather", ["x", "far"], ["y"])],
            [("x", F, ["N"])],
            [("y", F, [None])],
            {"far": np.array([5])},
        )
    )
    with caplog.at_level(logging.INFO, "sluice.models"):
        warm(model, ModelConfig())
        cost = Cost()
        measure(model, cost, Growth(64))
    assert cost.predict(1) == UNKNOWN
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "the model does not take zeros for a warm-up",
        "the model takes neither random numbers nor zeros, so it is measured in use",
    ]


# ------------------------------------------------------------------------------------------ measurements


class Seen:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def record(self, size: int, ns: float) -> None:
        assert ns > 0
        self.sizes.append(size)


def test_measures_powers_of_two(load: Loader) -> None:
    cost, growth = Seen(), Seen()
    measure(load(load.make.linear()), cost, growth)
    assert growth.sizes == [1, 2, 4, 8, 16, 32, 64]
    assert cost.sizes == [4 * rows for rows in growth.sizes]


def test_measures_within_max_batch_size(load: Loader) -> None:
    cost, growth = Seen(), Seen()
    measure(load(load.make.linear(), max_batch_size=5), cost, growth)
    assert growth.sizes == [1, 2, 4]


def test_measures_one_run_without_a_batch_axis(load: Loader) -> None:
    cost, growth = Seen(), Seen()
    measure(load(load.make.linear(rows=7)), cost, growth)
    assert (cost.sizes, growth.sizes) == ([28], [])


def test_a_slow_model_is_measured_briefly(load: Loader) -> None:
    weight = np.zeros((3000, 3000), np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h0"])]
    nodes += [helper.make_node("MatMul", [f"h{i}", "w"], [f"h{i + 1}"]) for i in range(30)]
    model = load(
        load.make.model(nodes, [("x", F, ["N", 3000])], [("h30", F, ["N", 3000])], {"w": weight}), max_batch_size=64
    )
    cost, growth = Seen(), Seen()
    measure(model, cost, growth)
    assert growth.sizes[0] == 1
    assert growth.sizes[-1] < 64
