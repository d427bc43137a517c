"""The ONNX standard's node tests as cases: models, feeds, and what onnxruntime answers in this process.

https://github.com/onnx/onnx/blob/main/docs/OnnxBackendTest.md
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from conformance.oip import DTYPES, HALVES, NAMES, Array

#: models that must at least be served right where tensors travel as bytes
LEAST_BINARY = 1580

#: how far an answer may be from onnxruntime's own: its kernels round by how their input lies in memory
ULPS = 8

#: no two runs of these agree
RANDOM_OPS = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}
RANDOM_CASES = "test_training_dropout"  # a Dropout that is told to train; the ratio is an input

#: onnxruntime's names of element types → the protocol's
PROTOCOL_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
    "tensor(float16)": "FP16",
    "tensor(bfloat16)": "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}".upper() for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


@dataclass(frozen=True)
class Case:
    """`expected` is what onnxruntime answers; `skipped` is why there is none, and then there are no feeds."""

    name: str
    model: bytes
    feeds: Mapping[str, Array] = field(default_factory=dict)
    expected: Mapping[str, Array] = field(default_factory=dict)
    skipped: str = ""

    @property
    def has_halves(self) -> bool:
        return any(NAMES[array.dtype] in HALVES for array in (*self.feeds.values(), *self.expected.values()))


def read_case(case: Any) -> Case:
    model = case.model.SerializeToString()
    if _is_random(case):
        return Case(case.name, model, skipped="it rolls dice")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = ort.InferenceSession(model, options, ["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 onnxruntime has a class for each of its codes, without a common one
        return Case(case.name, model, skipped="onnxruntime does not load it")
    for value in (*session.get_inputs(), *session.get_outputs()):
        if value.type not in PROTOCOL_TYPES:
            return Case(case.name, model, skipped=f"the protocol has no {value.type}")
    ((given, _),) = case.data_sets
    names = [value.name for value in session.get_inputs()]
    feeds = {name: _array(value) for name, value in zip(names, given, strict=True)}
    try:
        return Case(case.name, model, feeds, _run(session, feeds))
    except Exception:  # noqa: BLE001
        return Case(case.name, model, skipped="onnxruntime does not run it")


def _is_random(case: Any) -> bool:
    if case.name.startswith(RANDOM_CASES) and "zero_ratio" not in case.name:
        return True
    functions = [node for function in case.model.functions for node in function.node]
    return any(node.op_type in RANDOM_OPS for node in (*case.model.graph.node, *functions))


def _array(value: Any) -> Array:
    array = onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    if array.dtype.kind in "OSU":
        texts = np.empty(array.size, object)
        texts[:] = [text.decode() if isinstance(text, bytes) else str(text) for text in array.ravel()]
        return texts.reshape(array.shape)
    return array


def _run(session: Any, feeds: Mapping[str, Array]) -> dict[str, Array]:
    names = [value.name for value in session.get_outputs()]
    values = (*session.get_inputs(), *session.get_outputs())
    if all(value.type != "tensor(bfloat16)" for value in values):
        return dict(zip(names, map(_array, session.run(names, feeds)), strict=True))
    # onnxruntime takes BF16 from numpy as its bits only
    given = {
        name: ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), onnx.TensorProto.BFLOAT16)
        if NAMES[array.dtype] == "BF16"
        else ort.OrtValue.ortvalue_from_numpy(array)
        for name, array in feeds.items()
    }
    return dict(zip(names, map(_copied, session.run_with_ort_values(names, given)), strict=True))


def _copied(value: Any) -> Array:
    copy = np.empty(value.shape(), DTYPES[PROTOCOL_TYPES[value.data_type()]])
    ctypes.memmove(copy.ctypes.data, value.data_ptr(), copy.nbytes)
    return copy


def served(
    cases: Sequence[Case],
    how: str,
    unfit: Callable[[Case], str],
    difference: Callable[[Case], str],
    capsys: pytest.CaptureFixture[str],
) -> int:
    """How many were answered right, none may be wrong; prints why the others were not sent.

    how          the transport and form, in words
    unfit        why a case cannot travel so; "" if it can
    difference   what is wrong with the server's answer; "" if nothing
    """
    skipped = Counter(case.skipped for case in cases if case.skipped)
    wrong: dict[str, str] = {}
    right = 0
    for case in cases:
        if case.skipped:
            continue
        if reason := unfit(case):
            skipped[reason] += 1
        elif found := difference(case):
            wrong[case.name] = found
        else:
            right += 1
    with capsys.disabled():
        print(f"\n{right} of {len(cases)} ONNX node tests served {how}; not sent:")
        for reason, count in skipped.most_common():
            print(f"  {count:4} {reason}")
    assert not wrong, {name: text[:150] for name, text in wrong.items()}
    return right
