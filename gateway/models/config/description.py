"""A model's config as clients see it: the ModelConfig message as JSON, completed from the model's signature.

What a config.pbtxt says is kept; the rest is filled in as Triton's auto-completion does. Where this server
derives a batch axis, `max_batch_size` is `DERIVED_MAX_BATCH_SIZE`: clients take any number above 0 as "there
is a batch dimension", and the message has no way to say that there is no limit.
"""

from __future__ import annotations

from typing import Any, Final

from gateway import pb
from gateway.core.signature import Signature
from gateway.core.tensor import TensorSpec
from gateway.models.config.model import ModelConfig, VersionPolicy

DERIVED_MAX_BATCH_SIZE: Final = 64


def describe(config: ModelConfig, signature: Signature, name: str) -> dict[str, Any]:
    """Names in snake case, defaults present, every integer a number."""
    from google.protobuf.json_format import MessageToDict

    message = describe_message(config, signature, name)
    document: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    _numbers(message.DESCRIPTOR, document)
    return document


def describe_message(config: ModelConfig, signature: Signature, name: str) -> Any:
    """The ModelConfig message itself."""
    from google.protobuf.json_format import ParseDict

    message = pb.message("ModelConfig")()
    if config.declared is not None:
        ParseDict(dict(config.declared), message, descriptor_pool=pb.pool())
    _complete(message, config, signature, name)
    return message


def _complete(message: Any, config: ModelConfig, signature: Signature, name: str) -> None:
    message.name = name
    message.platform = "onnxruntime_onnx"
    message.backend = "onnxruntime"
    message.default_model_filename = config.filename
    message.optimization.SetInParent()
    _set_policy(message.version_policy, config.policy)
    message.max_batch_size = signature.max_batch_size
    if signature.batched and not message.max_batch_size:
        message.max_batch_size = config.max_batch_size or DERIVED_MAX_BATCH_SIZE
    for field, specs in (("input", signature.inputs), ("output", signature.outputs)):
        _add_tensors(getattr(message, field), specs, signature.batched)
    _set_instances(message, config.instances, name)
    if not signature.batched or config.batching is False:
        message.ClearField("dynamic_batching")
        return
    batching = message.dynamic_batching
    batching.preferred_batch_size[:] = config.preferred_batch_sizes
    batching.max_queue_delay_microseconds = round(config.max_delay * 1e6)
    queue = batching.default_queue_policy
    queue.default_timeout_microseconds = round(config.queue.timeout * 1e6)
    queue.allow_timeout_override = config.queue.allow_timeout_override
    queue.max_queue_size = config.queue.max_requests


def _set_policy(message: Any, policy: VersionPolicy) -> None:
    if policy.specific:
        message.specific.versions[:] = [int(version) for version in policy.specific]
    elif policy.latest:
        message.latest.num_versions = policy.latest
    else:
        message.all.SetInParent()


def _add_tensors(messages: Any, specs: dict[str, TensorSpec], batched: bool) -> None:
    declared = {message.name for message in messages}
    for spec in specs.values():
        if spec.name not in declared:
            kind = "STRING" if spec.datatype.name == "BYTES" else spec.datatype.name
            messages.add(name=spec.name, data_type=f"TYPE_{kind}", dims=spec.shape[1 if batched else 0 :])


def _set_instances(message: Any, instances: int, name: str) -> None:
    groups = message.instance_group
    if sum(group.count or 1 for group in groups) != instances:
        del groups[:]
        groups.add(name=name, kind="KIND_CPU", count=instances)
    for i, group in enumerate(groups):
        group.name = group.name or f"{name}_{i}"
        group.count = group.count or 1


def _numbers(descriptor: Any, document: dict[str, Any]) -> None:
    """protobuf's JSON has 64-bit integers as strings; this protocol's config has them as numbers."""
    for field in descriptor.fields:
        value = document.get(field.name)
        if value is None:
            continue
        if field.type in (field.TYPE_INT64, field.TYPE_UINT64):
            document[field.name] = [int(item) for item in value] if isinstance(value, list) else int(value)
        elif field.type == field.TYPE_MESSAGE:
            _numbers_within(field, value)


def _numbers_within(field: Any, value: Any) -> None:
    inner = field.message_type
    if inner.GetOptions().map_entry:
        inner = inner.fields_by_name["value"].message_type
        if inner is None:
            return  # a map to strings
        value = list(value.values())
    for item in value if isinstance(value, list) else [value]:
        _numbers(inner, item)
