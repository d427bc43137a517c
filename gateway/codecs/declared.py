"""What a request declares of its tensors, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Final

from gateway.core.errors import InvalidArgument
from gateway.core.tensor import DATA_TYPES, DataType

MAX_RANK: Final = 32
#: of one dimension, and of all the others together where one is 0: a model may well make something of those
MAX_SIZE: Final = 1 << 31
MAX_BESIDE_ZERO: Final = 1 << 24


def datatype_of(name: str, datatype: str) -> DataType:
    """`name` is the input's. Raises InvalidArgument."""
    found = DATA_TYPES.get(datatype)
    if found is None:
        raise InvalidArgument(f"input '{name}' has the datatype '{datatype}', expected one of {', '.join(DATA_TYPES)}")
    return found


def check_shape(name: str, shape: Sequence[int]) -> None:
    """Raises InvalidArgument naming the input."""
    if len(shape) > MAX_RANK:
        raise InvalidArgument(f"input '{name}' has {len(shape)} dimensions, the limit is {MAX_RANK}")
    for size in shape:
        if not 0 < size <= MAX_SIZE:
            _check_unusual(name, shape)
            return


def _check_unusual(name: str, shape: Sequence[int]) -> None:
    for size in shape:
        if size < 0:
            raise InvalidArgument(f"shape {list(shape)} of input '{name}' has the negative dimension {size}")
        if size > MAX_SIZE:
            raise InvalidArgument(f"a dimension of input '{name}' is too large: {size}, the limit is {MAX_SIZE}")
    if prod(filter(None, shape)) > MAX_BESIDE_ZERO:
        raise InvalidArgument(f"shape {list(shape)} of input '{name}' is too large for a tensor without elements")
