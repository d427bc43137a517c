"""What a graph declares of its inputs and outputs, and the signature that follows from it and from the config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.core.errors import InvalidArgument
from gateway.core.signature import Signature
from gateway.core.tensor import DATA_TYPES, DataType, TensorSpec
from gateway.models.config import ModelConfig, TensorConfig

#: onnxruntime's names of types → ours; what is not here, no protocol can carry
TYPES: Final[dict[str, DataType]] = {
    f"tensor({kind})": DATA_TYPES[name]
    for kind, name in {
        "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
        "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16",
        "bfloat16": "BF16", "float": "FP32", "double": "FP64", "string": "BYTES",
    }.items()
}  # fmt: skip
MAX_LABEL_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Declared:
    """An input or output as the runtime sees it. `shape` has -1 for a free dimension, None for any rank."""

    name: str
    type: str
    shape: tuple[int, ...] | None


def derive(
    inputs: Sequence[Declared],
    outputs: Sequence[Declared],
    config: ModelConfig,
    labels: Mapping[str, tuple[str, ...]],
) -> Signature:
    """The signature, batched where nothing in the shapes or the config speaks against it.

    Where the config lists outputs, only these are served. Raises InvalidArgument that names the field of the config
    or the tensor.
    """
    limit = config.max_batch_size
    taken = _matched("input", inputs, config.inputs)
    given = _matched("output", outputs, config.outputs)
    if config.outputs:
        given = [(declared, wish) for declared, wish in given if wish is not None]
    specs_in = [_spec("input", declared, wish, limit, ()) for declared, wish in taken]
    specs_out = [_spec("output", declared, wish, limit, labels.get(declared.name, ())) for declared, wish in given]
    if limit is None:
        batched = bool(specs_in) and all(spec.shape[:1] == (-1,) for spec in (*specs_in, *specs_out))
    else:
        batched = limit > 0
    return Signature(specs_in, specs_out, batched=batched, max_batch_size=limit or 0)


def unbatched(signature: Signature) -> Signature:
    """The same for a model whose rows depend on each other."""
    return Signature(signature.inputs.values(), signature.outputs.values())


def read_labels(folder: Path, wishes: Iterable[TensorConfig]) -> dict[str, tuple[str, ...]]:
    """Output → the lines of its label file, which must lie in the model's folder, links resolved."""
    labels = {}
    for wish in wishes:
        if wish.label_file:
            labels[wish.name] = _lines(folder, wish.label_file, f"label file '{wish.label_file}' of '{wish.name}'")
    return labels


def _lines(folder: Path, name: str, where: str) -> tuple[str, ...]:
    try:
        root = folder.resolve(strict=True)
        path = (root / name).resolve(strict=True)
        if not path.is_relative_to(root):
            raise InvalidArgument(f"{where} is not in the model's folder")
        if not path.is_file():
            raise InvalidArgument(f"{where} is not a regular file")
        size = path.stat().st_size
        if size > MAX_LABEL_BYTES:
            raise InvalidArgument(f"{where} has {size} bytes, expected at most {MAX_LABEL_BYTES}")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise InvalidArgument(f"{where} cannot be read: {error.strerror}") from error
    except (ValueError, RuntimeError) as error:
        raise InvalidArgument(f"{where} cannot be read: expected lines of UTF-8") from error
    return tuple(line.rstrip() for line in text.rstrip("\n").split("\n"))


def _matched(
    field: str, declared: Sequence[Declared], wishes: Sequence[TensorConfig]
) -> list[tuple[Declared, TensorConfig | None]]:
    by_name = {wish.name: wish for wish in wishes}
    names = [item.name for item in declared]
    for name in by_name:
        if name not in names:
            listed = ", ".join(f"'{name}'" for name in names) or "none"
            raise InvalidArgument(f"field '{field}' names '{name}', the model's {field}s are {listed}")
    return [(item, by_name.get(item.name)) for item in declared]


def _spec(
    field: str, declared: Declared, wish: TensorConfig | None, limit: int | None, labels: tuple[str, ...]
) -> TensorSpec:
    where = f"{field} '{declared.name}'"
    datatype = TYPES.get(declared.type)
    if datatype is None:
        raise InvalidArgument(f"{where} is of the type {declared.type}, expected a tensor of a served type")
    shape = declared.shape
    if limit and shape is not None and shape[:1] != (-1,):
        raise InvalidArgument(
            f"field 'max_batch_size' is {limit}, but {where} has the shape {list(shape)},"
            " expected a free first dimension"
        )
    if wish is not None:
        shape = _wished(where, declared, wish, datatype, batch=bool(limit))
    elif shape is None and field == "input":
        raise InvalidArgument(f"{where} has no shape in the model, expected its dims in a config.pbtxt")
    elif shape is None:
        shape = (-1,)
    return TensorSpec(declared.name, datatype, shape, labels)


def _wished(where: str, declared: Declared, wish: TensorConfig, datatype: DataType, *, batch: bool) -> tuple[int, ...]:
    """The shape that clients see, if the graph has room for the one that it stands for."""
    if wish.datatype is not datatype:
        raise InvalidArgument(f"field 'data_type' of {where} is {wish.datatype.name}, the model has {datatype.name}")
    field, dims = ("dims", wish.dims) if wish.reshape is None else ("reshape", wish.reshape)
    inside = declared.shape if not batch or declared.shape is None else declared.shape[1:]
    if inside is not None and not (
        len(inside) == len(dims) and all(has in (-1, size) for has, size in zip(inside, dims, strict=True))
    ):
        raise InvalidArgument(f"field '{field}' of {where} is {list(dims)}, the model has {list(inside)}")
    return (-1, *wish.dims) if batch else wish.dims
