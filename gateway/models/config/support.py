"""What of a ModelConfig message this server does not do.

What it cannot do is an error that names the field (`REFUSED`): a model must not be served as something else than what
its config says. What changes no answer is ignored, and a warning names it (`IGNORED`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from gateway.core.errors import InvalidArgument
from gateway.models.config.model import ModelConfig

#: path of a field without indices → why it is refused when it is set
REFUSED: Final = {
    "sequence_batching": "requests are independent of each other here",
    "ensemble_scheduling": "a model is one ONNX graph here",
    "model_transaction_policy.decoupled": "a request has exactly one response here",
    "batch_input": "models take only what the request brings",
    "batch_output": "outputs are split by rows only",
    "input.is_shape_tensor": "it belongs to TensorRT",
    "output.is_shape_tensor": "it belongs to TensorRT",
    "input.is_non_linear_format_io": "it belongs to TensorRT",
    "output.is_non_linear_format_io": "it belongs to TensorRT",
    "input.allow_ragged_batch": "only requests of equal shape are merged",
    "input.optional": "every input must be in the request",
    "instance_group.passive": "every instance serves",
    "model_operations": "no foreign libraries are loaded",
    "model_repository_agents": "models are read as they lie in the repository",
    "dynamic_batching.priority_queue_policy": "there is one queue for all priorities",
}

#: path of a field → what is done in its stead
IGNORED: Final = {
    "runtime": "models run in onnxruntime",
    "optimization": "onnxruntime's own optimization is on, execution providers are a setting of the server",
    "cc_model_filenames": "the one model file of a version is used",
    "metric_tags": "metrics are labelled by model and version",
    "model_metrics": "the histograms' buckets are fixed",
    "response_cache.enable": "every request is computed",
    "instance_group.gpus": "models run on the configured execution providers",
    "instance_group.profile": "it belongs to TensorRT",
    "instance_group.rate_limiter": "instances run whenever they are free",
    "instance_group.secondary_devices": "models run on the configured execution providers",
    "instance_group.host_policy": "models run on the configured execution providers",
    "dynamic_batching.preserve_ordering": "requests start in the order in which they came",
}

#: parameters that are known: key → the field of `Threading`
THREADING: Final = {"intra_op_thread_count": "intra_op", "inter_op_thread_count": "inter_op"}

_PLATFORMS: Final = ("", "onnxruntime_onnx")
_BACKENDS: Final = ("", "onnxruntime")


def check_supported(message: Any, name: str) -> None:
    """Raises InvalidArgument for what this server cannot do for the model of that name."""
    if message.name not in ("", name):
        raise InvalidArgument(f"field 'name' is '{message.name}', expected '{name}' or nothing")
    for field, found, known in (
        ("platform", message.platform, _PLATFORMS),
        ("backend", message.backend, _BACKENDS),
    ):
        if found not in known:
            raise InvalidArgument(f"field '{field}' is '{found}', expected '{known[-1]}': models are ONNX graphs")
    for path in _paths(message):
        if path in REFUSED:
            raise InvalidArgument(f"field '{path}' is not supported: {REFUSED[path]}")
    levels = message.dynamic_batching.priority_levels
    if levels > 1:
        raise InvalidArgument(
            f"field 'dynamic_batching.priority_levels' is {levels}, expected at most 1:"
            " there is one queue for all priorities"
        )


def ignored(message: Any, config: ModelConfig) -> Iterator[tuple[str, str]]:
    """The path of a field, and what is done in its stead."""
    for path in dict.fromkeys(_paths(message)):
        if path in IGNORED:
            yield path, IGNORED[path]
    if any(group.Kind.Name(group.kind) == "KIND_GPU" for group in message.instance_group):
        yield "instance_group.kind", "models run on the configured execution providers"
    queue = message.dynamic_batching.default_queue_policy
    if queue.timeout_action == queue.DELAY:
        yield "dynamic_batching.default_queue_policy.timeout_action", "a request whose time is out is refused"
    if message.HasField("dynamic_batching") and config.max_batch_size == 0:
        yield "dynamic_batching", "max_batch_size is 0, so requests are not merged"
    for key in message.parameters:
        if key not in THREADING:
            yield f"parameters['{key}']", "this server does not know it"


def _paths(message: Any, prefix: str = "") -> Iterator[str]:
    """The fields that are set, by their paths without indices; parents before children."""
    for field, value in message.ListFields():
        path = prefix + field.name
        yield path
        if field.type != field.TYPE_MESSAGE or field.message_type.GetOptions().map_entry:
            continue
        for child in [value] if hasattr(value, "ListFields") else value:
            yield from _paths(child, path + ".")
