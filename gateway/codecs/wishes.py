"""What a request asks for beside its inputs: how its outputs are to be given back, how long it may wait.

The same parameters mean the same on every transport. Source: Open Inference Protocol v2 with the classification and
shared memory extensions.
"""

from __future__ import annotations

from collections.abc import Iterable
from reprlib import repr as brief
from typing import Any, Final, Protocol

from gateway.codecs.binary import Buffer, encode_raw, raw_size
from gateway.core.errors import InvalidArgument
from gateway.core.infer import InferRequest, Parameters
from gateway.core.tensor import Array

#: parameters that the protocol reserves; those it defines are read, others beginning so are refused
RESERVED: Final = "triton_"


class Regions(Protocol):
    """Registered shared memory."""

    def read(self, region: str, offset: int, byte_size: int) -> memoryview: ...

    def write(self, region: str, offset: int, data: Buffer) -> None: ...


class Shared:
    """Where in shared memory a tensor lies, in bytes."""

    __slots__ = ("byte_size", "offset", "region")

    def __init__(self, region: str, offset: int, byte_size: int) -> None:
        self.region = region
        self.offset = offset
        self.byte_size = byte_size


class OutputForm:
    """How one output is to be given back."""

    __slots__ = ("binary", "classes", "shared")

    def __init__(self, binary: bool, classes: int = 0, shared: Shared | None = None) -> None:
        self.binary = binary
        self.classes = classes
        self.shared = shared


class ReplyForm:
    """How a reply is to be written: the forms asked for by name, and the form of the others."""

    __slots__ = ("default", "outputs")

    def __init__(self, default: OutputForm, outputs: dict[str, OutputForm]) -> None:
        self.default = default
        self.outputs = outputs


PLAIN: Final = ReplyForm(OutputForm(binary=False), {})
RAW: Final = ReplyForm(OutputForm(binary=True), {})


def read_parameters(parameters: Parameters, request: InferRequest) -> None:
    """Puts into the request what the model and the queue need of them. Raises InvalidArgument."""
    for name, value in parameters.items():
        if name.startswith(RESERVED):
            raise InvalidArgument(f"parameter '{name}' is reserved: names beginning '{RESERVED}' are not allowed")
        if isinstance(value, (list, dict)) or value is None:
            raise InvalidArgument(f"parameter '{name}' must be a string, a number or a boolean")
    if parameters.get("sequence_id") not in (None, 0, ""):
        raise InvalidArgument("parameter 'sequence_id' is given, but the model is not a sequence model")
    request.parameters = parameters
    timeout = whole(parameters, "timeout", "the request")
    if timeout:
        request.timeout = timeout / 1e6
    whole(parameters, "priority", "the request")


def read_outputs(
    wanted: Iterable[tuple[str, Parameters | None]], default: OutputForm, request: InferRequest
) -> ReplyForm:
    """The outputs asked for, with their parameters: their names into the request. Raises InvalidArgument."""
    forms: dict[str, OutputForm] = {}
    for name, parameters in wanted:
        if name in forms:
            raise InvalidArgument(f"output '{name}' is requested twice")
        forms[name] = _form(name, parameters, default) if parameters else default
    request.outputs = tuple(forms)
    return ReplyForm(default, forms)


def _form(name: str, parameters: Parameters, default: OutputForm) -> OutputForm:
    where = f"output '{name}'"
    classes = whole(parameters, "classification", where) or 0
    shared = shared_of(parameters, where)
    if classes and shared is not None:
        raise InvalidArgument(f"{where} can't be classified and written to shared memory at the same time")
    return OutputForm(flag(parameters, "binary_data", where, default=default.binary), classes, shared)


def shared_of(parameters: Parameters, where: str) -> Shared | None:
    """Where the tensor lies, if in shared memory. `where` names the tensor in errors. Raises InvalidArgument."""
    region = parameters.get("shared_memory_region")
    if region is None:
        return None
    if not isinstance(region, str):
        raise InvalidArgument(f"'shared_memory_region' of {where} must be a string, not {brief(region)}")
    size = whole(parameters, "shared_memory_byte_size", where)
    if size is None:
        raise InvalidArgument(f"{where} names a shared memory region without 'shared_memory_byte_size'")
    return Shared(region, whole(parameters, "shared_memory_offset", where) or 0, size)


def read_shared(name: str, shared: Shared, regions: Regions | None) -> memoryview:
    """An input's bytes. Raises InvalidArgument, NotFound."""
    if regions is None:
        raise InvalidArgument(f"input '{name}' names a shared memory region, but shared memory is off")
    return regions.read(shared.region, shared.offset, shared.byte_size)


def write_shared(name: str, array: Array, shared: Shared, regions: Regions | None) -> int:
    """An output into shared memory; returns its bytes. Raises InvalidArgument, NotFound."""
    if regions is None:
        raise InvalidArgument(f"output '{name}' names a shared memory region, but shared memory is off")
    size = raw_size(array)
    if size > shared.byte_size:
        raise InvalidArgument(
            f"output '{name}' has {size} bytes, but 'shared_memory_byte_size' gives it {shared.byte_size}"
        )
    regions.write(shared.region, shared.offset, encode_raw(array))
    return size


def whole(parameters: Parameters, name: str, where: str) -> int | None:
    """A parameter that is a whole number of at least 0, if it is there."""
    value = parameters.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise InvalidArgument(f"'{name}' of {where} must be a whole number of at least 0, not {brief(value)}")
    return value


def flag(parameters: Parameters, name: str, where: str, *, default: bool) -> bool:
    value: Any = parameters.get(name, default)
    if type(value) is not bool:
        raise InvalidArgument(f"'{name}' of {where} must be true or false, not {brief(value)}")
    return value
