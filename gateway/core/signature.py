"""What a model takes and gives, and the check of a request against it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.core.errors import InvalidArgument
from gateway.core.tensor import NAME_OF, Array, TensorSpec


class Signature:
    """The inputs and outputs of one model version, frozen.

    inputs, outputs   by name, in the model's order; shapes are whole: with a batch axis, dim 0 is -1
    batched           dim 0 of every input and output counts rows, so that requests may be merged along it
    max_batch_size    the most rows in one request, 0 for no limit
    """

    def __init__(
        self,
        inputs: Iterable[TensorSpec],
        outputs: Iterable[TensorSpec],
        *,
        batched: bool = False,
        max_batch_size: int = 0,
    ) -> None:
        self.inputs: Final = {spec.name: spec for spec in inputs}
        self.outputs: Final = {spec.name: spec for spec in outputs}
        self.output_names: Final = tuple(self.outputs)
        self.batched: Final = batched
        self.max_batch_size: Final = max_batch_size
        #: a dimension other than dim 0 is free: only requests that agree on it may be merged
        self.ragged: Final = any(-1 in spec.shape[1:] for spec in self.inputs.values())
        self._checks: Final = tuple(
            (
                spec.name,
                spec.datatype.dtype,
                len(spec.shape),
                tuple((i, n) for i, n in enumerate(spec.shape) if n >= 0),
            )
            for spec in self.inputs.values()
        )

    def check(self, inputs: dict[str, Array]) -> int:
        """Returns the number of rows (1 without a batch axis).

        Raises InvalidArgument that names the input, what was found and what was expected.
        """
        if len(inputs) != len(self._checks):
            raise self._wrong_names(inputs)
        rows = -1
        for name, dtype, rank, fixed in self._checks:
            array = inputs.get(name)
            if array is None:
                raise self._wrong_names(inputs)
            if array.dtype is not dtype and array.dtype != dtype:
                raise InvalidArgument(
                    f"unexpected datatype {NAME_OF[array.dtype]} for input '{name}',"
                    f" expecting {self.inputs[name].datatype.name}"
                )
            shape = array.shape
            if len(shape) != rank:
                raise self._wrong_shape(name, shape)
            for axis, size in fixed:
                if shape[axis] != size:
                    raise self._wrong_shape(name, shape)
            if self.batched:
                if rows < 0:
                    rows = shape[0]
                elif shape[0] != rows:
                    raise InvalidArgument(
                        f"input '{name}' has a batch of {shape[0]}, but another input of the request has {rows}"
                    )
        if not self.batched:
            return 1
        if self.max_batch_size and rows > self.max_batch_size:
            raise InvalidArgument(f"a batch of {rows} exceeds the model's max_batch_size of {self.max_batch_size}")
        return rows

    def check_outputs(self, names: Iterable[str]) -> None:
        """Raises InvalidArgument for the first name that the model does not have."""
        for name in names:
            if name not in self.outputs:
                raise InvalidArgument(f"unexpected output '{name}', the model has {_listed(self.outputs)}")

    def _wrong_names(self, inputs: dict[str, Array]) -> InvalidArgument:
        for name in inputs:
            if name not in self.inputs:
                return InvalidArgument(f"unexpected input '{name}', the model takes {_listed(self.inputs)}")
        missing = [name for name in self.inputs if name not in inputs]
        return InvalidArgument(f"expected {len(self.inputs)} inputs but got {len(inputs)}, missing {_listed(missing)}")

    def _wrong_shape(self, name: str, found: tuple[int, ...]) -> InvalidArgument:
        expected = list(self.inputs[name].shape)
        return InvalidArgument(f"unexpected shape {list(found)} for input '{name}', expecting {expected}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
