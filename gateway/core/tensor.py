"""Tensors and their types: the protocol's names, numpy's dtypes and ONNX's element types, in one table.

A tensor is a numpy array. Two of the protocol's types have no numpy dtype of their own:

- ``BF16`` is the one-field record ``BFLOAT16``: two bytes an element, distinct from ``UINT16``, and safe to
  slice, concatenate and view.
- ``BYTES`` is an object array of ``str``: that is what onnxruntime takes and gives.

Names: Open Inference Protocol v2, "Tensor Data Types". Element types: ``TensorProto.DataType`` of onnx.proto.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BFLOAT16: Final[np.dtype[Any]] = np.dtype([("bfloat16", "<u2")])
STRING: Final[np.dtype[Any]] = np.dtype(object)


@dataclass(frozen=True, slots=True)
class DataType:
    """One element type. `itemsize` is in bytes, 0 for BYTES; `onnx` is the number in ``TensorProto.DataType``."""

    name: str
    dtype: np.dtype[Any]
    onnx: int

    @property
    def itemsize(self) -> int:
        return 0 if self.name == "BYTES" else self.dtype.itemsize


DATA_TYPES: Final[dict[str, DataType]] = {
    t.name: t
    for t in (
        DataType("BOOL", np.dtype(np.bool_), 9),
        DataType("UINT8", np.dtype("<u1"), 2),
        DataType("UINT16", np.dtype("<u2"), 4),
        DataType("UINT32", np.dtype("<u4"), 12),
        DataType("UINT64", np.dtype("<u8"), 13),
        DataType("INT8", np.dtype("<i1"), 3),
        DataType("INT16", np.dtype("<i2"), 5),
        DataType("INT32", np.dtype("<i4"), 6),
        DataType("INT64", np.dtype("<i8"), 7),
        DataType("FP16", np.dtype("<f2"), 10),
        DataType("BF16", BFLOAT16, 16),
        DataType("FP32", np.dtype("<f4"), 1),
        DataType("FP64", np.dtype("<f8"), 11),
        DataType("BYTES", STRING, 8),
    )
}

#: numpy dtype → the protocol's name
NAME_OF: Final[dict[np.dtype[Any], str]] = {t.dtype: t.name for t in DATA_TYPES.values()}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model. `shape` has -1 where a dimension is free; `labels` name classes, if any."""

    name: str
    datatype: DataType
    shape: tuple[int, ...]
    labels: tuple[str, ...] = ()
