"""The ModelConfig message to a `ModelConfig`; what of it this server refuses and ignores is in support.py."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Any

from gateway.core.errors import InvalidArgument
from gateway.core.tensor import DATA_TYPES, DataType
from gateway.models.config.model import (
    ModelConfig,
    QueuePolicy,
    TensorConfig,
    Threading,
    VersionPolicy,
    Warmup,
    WarmupInput,
)
from gateway.models.config.support import THREADING, check_supported, ignored

logger = logging.getLogger("sluice.models")


def translate(message: Any, name: str, source: str, sized: bool) -> ModelConfig:
    """What a message says of the model of that name. Logs what is ignored, each field once.

    sized   max_batch_size is written down, be it as 0; the message cannot tell
    Raises InvalidArgument that begins with `source` and names the field.
    """
    from google.protobuf.json_format import MessageToDict

    try:
        check_supported(message, name)
        config = _config(message, name, sized)
    except InvalidArgument as error:
        raise InvalidArgument(f"{source}: {error.message}") from None
    for path, instead in ignored(message, config):
        logger.warning("%s: field '%s' is ignored: %s", source, path, instead)
    return replace(config, declared=MessageToDict(message, preserving_proto_field_name=True))


def _config(message: Any, name: str, sized: bool) -> ModelConfig:
    max_batch_size = message.max_batch_size
    if max_batch_size < 0:
        raise InvalidArgument(f"field 'max_batch_size' is {max_batch_size}, expected at least 0")
    # dims say how many dimensions there are, so without a max_batch_size they are whole
    derived = max_batch_size == 0 and not sized and not message.input and not message.output
    dynamic = message.HasField("dynamic_batching")
    batching: bool | None = dynamic and max_batch_size > 0
    if derived:
        batching = True if dynamic else None
    return ModelConfig(
        name=name,
        max_batch_size=None if derived else max_batch_size,
        batching=batching,
        max_delay=message.dynamic_batching.max_queue_delay_microseconds / 1e6,
        preferred_batch_sizes=_preferred(message),
        queue=_queue(message.dynamic_batching),
        policy=_policy(message.version_policy),
        instances=_instances(message.instance_group),
        inputs=_tensors("input", message.input),
        outputs=_tensors("output", message.output),
        warmup=tuple(_warmup(sample, i, max_batch_size) for i, sample in enumerate(message.model_warmup)),
        threading=_threading(message.parameters),
        filename=_filename(message.default_model_filename),
    )


def _filename(name: str) -> str:
    if "/" in contained("default_model_filename", name):
        raise InvalidArgument(f"field 'default_model_filename' is '{name}', expected a name without folders")
    return name or "model.onnx"


def _preferred(message: Any) -> tuple[int, ...]:
    sizes = tuple(message.dynamic_batching.preferred_batch_size)
    limit = message.max_batch_size
    for size in sizes:
        if size < 1 or (limit and size > limit):
            raise InvalidArgument(
                f"field 'dynamic_batching.preferred_batch_size' has {size},"
                f" expected 1 to {limit or 'any'} (max_batch_size)"
            )
    return tuple(sorted(set(sizes)))


def _queue(dynamic_batching: Any) -> QueuePolicy:
    if not dynamic_batching.HasField("default_queue_policy"):
        return QueuePolicy()
    policy = dynamic_batching.default_queue_policy
    return QueuePolicy(
        max_requests=policy.max_queue_size,
        timeout=policy.default_timeout_microseconds / 1e6,
        allow_timeout_override=policy.allow_timeout_override,
    )


def _policy(policy: Any) -> VersionPolicy:
    match policy.WhichOneof("policy_choice"):
        case "all":
            return VersionPolicy()
        case "specific":
            versions = tuple(policy.specific.versions)
            if not versions or min(versions) < 1:
                raise InvalidArgument(
                    f"field 'version_policy.specific.versions' is {list(versions)}, expected numbers above 0"
                )
            return VersionPolicy(specific=tuple(str(version) for version in sorted(set(versions))))
        case _:
            return VersionPolicy(latest=policy.latest.num_versions or 1)


def _instances(groups: Any) -> int:
    total = 0
    for group in groups:
        if group.count < 0:
            raise InvalidArgument(f"field 'instance_group.count' is {group.count}, expected at least 1")
        total += group.count or 1
    return total or 1


def _tensors(field: str, messages: Any) -> tuple[TensorConfig, ...]:
    found: dict[str, TensorConfig] = {}
    for i, message in enumerate(messages):
        where = f"{field}[{i}]"
        if not message.name:
            raise InvalidArgument(f"field '{where}.name' is empty, expected the tensor's name")
        if message.name in found:
            raise InvalidArgument(f"field '{where}.name' is '{message.name}', as is another's of this model")
        found[message.name] = TensorConfig(
            name=message.name,
            datatype=_datatype(where, message),
            dims=_dims(f"{where}.dims", message.dims),
            reshape=_reshape(where, message),
            label_file=contained(f"{where}.label_filename", getattr(message, "label_filename", "")),
        )
    return tuple(found.values())


def _datatype(where: str, message: Any) -> DataType:
    enum = message.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
    kind = enum[message.data_type].name if message.data_type in enum else str(message.data_type)
    datatype = DATA_TYPES.get("BYTES" if kind == "TYPE_STRING" else kind.removeprefix("TYPE_"))
    if datatype is None:
        raise InvalidArgument(f"field '{where}.data_type' is {kind}, expected a type such as TYPE_FP32")
    return datatype


def _dims(where: str, dims: Any) -> tuple[int, ...]:
    for size in dims:
        if size < 1 and size != -1:
            raise InvalidArgument(f"field '{where}' has {size}, expected numbers above 0, or -1 for any")
    return tuple(dims)


def _reshape(where: str, message: Any) -> tuple[int, ...] | None:
    if not message.HasField("reshape"):
        return None
    shape = _dims(f"{where}.reshape.shape", message.reshape.shape)
    if _products(shape) != _products(message.dims):
        raise InvalidArgument(
            f"field '{where}.reshape' is {list(shape)}, which does not hold as many elements as"
            f" dims {list(message.dims)}"
        )
    return shape


def _products(dims: Any) -> list[int]:
    """Elements between one free dimension and the next: a reshape has to leave these alone."""
    products = [1]
    for size in dims:
        if size == -1:
            products.append(1)
        else:
            products[-1] *= size
    return products


def _warmup(message: Any, index: int, max_batch_size: int) -> Warmup:
    where = f"model_warmup[{index}]"
    if message.batch_size > max(1, max_batch_size):
        raise InvalidArgument(
            f"field '{where}.batch_size' is {message.batch_size}, expected at most {max(1, max_batch_size)}"
        )
    inputs = {}
    for name, value in message.inputs.items():
        source = f"{where}.inputs['{name}']"
        choice = value.WhichOneof("input_data_type")
        if choice is None:
            raise InvalidArgument(f"field '{source}' has no zero_data, random_data or input_data_file")
        file = contained(f"{source}.input_data_file", value.input_data_file)
        inputs[name] = WarmupInput(
            datatype=_datatype(source, value),
            dims=tuple(1 if size == -1 else size for size in _dims(f"{source}.dims", value.dims)),
            data="random" if choice == "random_data" else "zero",
            file=f"warmup/{file}" if file else "",
        )
    return Warmup(
        name=message.name or where,
        batch_size=message.batch_size or 1,
        inputs=inputs,
        count=message.count or 1,
    )


def _threading(parameters: Any) -> Threading:
    threading = Threading()
    for key, attribute in THREADING.items():
        if key not in parameters:
            continue
        value = parameters[key].string_value
        if not re.fullmatch(r"[0-9]{1,3}", value):
            raise InvalidArgument(f"field 'parameters['{key}']' is '{value}', expected a number from 0 to 999")
        threading = replace(threading, **{attribute: int(value)})
    return threading


def contained(field: str, path: str) -> str:
    """A relative path that, by its letters, stays in its folder; links are followed later."""
    parts = path.split("/")
    if path and ("" in parts or "." in parts or ".." in parts or "\0" in path or "\\" in path):
        raise InvalidArgument(f"field '{field}' is '{path}', expected a path inside the model's folder")
    return path
