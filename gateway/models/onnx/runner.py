"""What runs a session: its own method, or a step round it for models that numpy or clients see otherwise."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gateway.core.errors import InvalidArgument, Unavailable
from gateway.core.signature import Signature
from gateway.core.tensor import BFLOAT16, Array
from gateway.models.config import ModelConfig, TensorConfig

#: names of outputs, inputs, options → the outputs
Run = Callable[[Sequence[str], Mapping[str, Array], Any], list[Array]]


def runner(session: Any, signature: Signature, config: ModelConfig) -> Run:
    specs = (*signature.inputs.values(), *signature.outputs.values())
    run: Run = session._sess.run
    if any(spec.datatype.name == "BF16" for spec in specs):
        for spec in signature.inputs.values():
            if spec.datatype.name == "BYTES":
                raise InvalidArgument(f"input '{spec.name}' is BYTES beside BF16, which onnxruntime takes from C only")
        run = _Values(session)
    shapes = {wish.name: wish for wish in (*config.inputs, *config.outputs) if wish.reshape is not None}
    return _Reshaped(run, shapes, batch=bool(config.max_batch_size)) if shapes else run


def closed(outputs: Sequence[str], inputs: Mapping[str, Array], options: Any) -> list[Array]:
    raise Unavailable("the model was unloaded")


class _Values:
    """Runs a model with BF16, which onnxruntime neither takes from numpy nor gives to it: by way of OrtValues."""

    def __init__(self, session: Any) -> None:
        self._session = session
        # it is loaded, or there were no session
        self._values = importlib.import_module("onnxruntime").OrtValue

    def __call__(self, outputs: Sequence[str], inputs: Mapping[str, Array], options: Any) -> list[Array]:
        feeds = {name: self._value(array) for name, array in inputs.items()}
        return [self._array(value) for value in self._session.run_with_ort_values(outputs, feeds, options)]

    def _value(self, array: Array) -> Any:
        array = np.asarray(array, order="C")
        if array.dtype == BFLOAT16:
            return self._values.ortvalue_from_numpy_with_onnx_type(array.view("<u2"), 16)
        return self._values.ortvalue_from_numpy(array)

    def _array(self, value: Any) -> Array:
        if value.data_type() != "tensor(bfloat16)":
            array: Array = value.numpy()
            return array
        copy = np.empty(value.shape(), BFLOAT16)
        ctypes.memmove(copy.ctypes.data, value.data_ptr(), copy.nbytes)
        return copy


class _Reshaped:
    """Runs a model whose tensors clients see in other shapes (`reshape` of config.pbtxt)."""

    def __init__(self, run: Run, wishes: Mapping[str, TensorConfig], *, batch: bool) -> None:
        self._run = run
        self._wishes = wishes
        self._batch = batch

    def __call__(self, outputs: Sequence[str], inputs: Mapping[str, Array], options: Any) -> list[Array]:
        feeds = {
            name: self._shaped(array, self._wishes[name], inward=True) if name in self._wishes else array
            for name, array in inputs.items()
        }
        arrays = self._run(outputs, feeds, options)
        return [
            self._shaped(array, self._wishes[name], inward=False) if name in self._wishes else array
            for name, array in zip(outputs, arrays, strict=True)
        ]

    def _shaped(self, array: Array, wish: TensorConfig, *, inward: bool) -> Array:
        before, after = (wish.dims, wish.reshape or ()) if inward else (wish.reshape or (), wish.dims)
        batch, shape = (array.shape[:1], array.shape[1:]) if self._batch else ((), array.shape)
        free = iter([size for size, declared in zip(shape, before, strict=True) if declared == -1])
        return array.reshape(batch + tuple(next(free) if size == -1 else size for size in after))
