"""The classification extension: an output as the best `k` of its classes, in words.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
Values are written as C++'s ``std::to_string`` writes them: ``%f`` for floats, decimal digits for integers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.core.errors import InvalidArgument
from gateway.core.tensor import BFLOAT16, NAME_OF, STRING, Array


def classify(array: Array, k: int, labels: Sequence[str] = (), *, batched: bool = False) -> Array:
    """BYTES of ``"value:index[:label]"``, best first: ``[B, min(k, n)]`` if batched, else ``[min(k, n)]``.

    `n` is the number of elements of a row (of the whole array without a batch axis), which an index counts.
    Equal values come in the order of their index, NaN last. A class without a label has none.
    Raises InvalidArgument where `k` is not a positive integer or the datatype has no order (BOOL, BYTES).
    """
    if type(k) is not int or k <= 0:
        raise InvalidArgument(f"classification must be a positive integer, got {k!r}")
    values = _numeric(array)
    rows = values.shape[0] if batched and values.ndim else 1
    n = values.size // rows if rows else _product(values.shape[1:])
    values = values.reshape(rows, n)
    best = _best(values, min(k, n))
    scores = np.take_along_axis(values, best, axis=1)
    form = "%f:%d" if values.dtype.kind == "f" else "%d:%d"
    words = [form % pair for pair in zip(scores.ravel().tolist(), best.ravel().tolist(), strict=True)]
    if labels:
        indexes = best.ravel().tolist()
        words = [
            f"{word}:{labels[i]}" if i < len(labels) and labels[i] else word
            for word, i in zip(words, indexes, strict=True)
        ]
    result = np.empty(len(words), STRING)
    result[:] = words
    return result.reshape(best.shape if batched and array.ndim else best.shape[1:])


def _numeric(array: Array) -> Array:
    if array.dtype == BFLOAT16:
        return (array["bfloat16"].astype(np.uint32) << 16).view(np.float32)
    if array.dtype.kind not in "fiu":
        raise InvalidArgument(f"class result not available for output due to unsupported type '{NAME_OF[array.dtype]}'")
    return array


def _best(values: Array, k: int) -> Array:
    """Indexes ``[rows, k]`` of the `k` largest of each row, best first, equal ones by index."""
    keys = values
    if values.dtype.kind == "f":
        keys = np.where(np.isnan(values), -np.inf, values)
    n = keys.shape[1]
    chosen = None
    if 0 < k < n:
        # A partition finds the k-th largest in linear time but breaks ties as it likes: take everything above
        # it, and of those equal to it the first ones.
        least = np.partition(keys, n - k, axis=1)[:, n - k : n - k + 1]
        above, equal = keys > least, keys == least
        room = k - above.sum(axis=1, keepdims=True)
        chosen = np.nonzero(above | (equal & (equal.cumsum(axis=1) <= room)))[1].reshape(-1, k)
        keys = np.take_along_axis(keys, chosen, axis=1)
    # Stable and descending: an ascending stable sort of the mirrored row, mirrored back.
    order = keys.shape[1] - 1 - np.argsort(keys[:, ::-1], axis=1, kind="stable")[:, ::-1]
    return order if chosen is None else np.take_along_axis(chosen, order, axis=1)


def _product(shape: Sequence[int]) -> int:
    n = 1
    for size in shape:
        n *= size
    return n
