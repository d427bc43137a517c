"""How one model is served: what config.pbtxt and model.yaml say, free of either format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.core.tensor import DataType


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which of the available versions are served: the newest `latest`, or `specific` ones, or all (both unset)."""

    latest: int = 0
    specific: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """What a model's queue admits. Seconds; 0 means: no limit of this model's own."""

    max_requests: int = 0
    timeout: float = 0.0
    allow_timeout_override: bool = True


@dataclass(frozen=True, slots=True)
class TensorConfig:
    """A declared input or output. `dims` are as written, without the batch dimension."""

    name: str
    datatype: DataType
    dims: tuple[int, ...]
    reshape: tuple[int, ...] | None = None
    #: path of the file of class names, relative to the model's folder
    label_file: str = ""


@dataclass(frozen=True, slots=True)
class WarmupInput:
    """`dims` are as written, without the batch dimension.

    `file` holds one row's raw little-endian data, BYTES elements with their 4-byte length before them, and goes
    before `data`. It is relative to the model's folder as parsed, absolute once it was checked where it lies.
    """

    datatype: DataType
    dims: tuple[int, ...]
    data: Literal["zero", "random"]
    file: str = ""


@dataclass(frozen=True, slots=True)
class Warmup:
    """One sample that is run before a version is published."""

    name: str
    batch_size: int
    inputs: Mapping[str, WarmupInput]
    count: int = 1


@dataclass(frozen=True, slots=True)
class Threading:
    """ONNX threading of one model. 0: the process's pool, which all models share."""

    intra_op: int = 0
    inter_op: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Everything optional: an empty config means that all is derived from the graph.

    max_batch_size   None: derived (batched if dim 0 is free everywhere and the probe agrees);
                     0: never batched, dims are whole; > 0: dims are without the batch dimension
    batching         merge requests: None: if the model is batched; config.pbtxt says so by dynamic_batching
    max_delay        seconds that a batch waits to fill up
    run_limit        seconds after which a run is terminated, 0 for never
    filename         of the model within the version's folder
    declared         the ModelConfig message as its snake_case JSON, where a config.pbtxt or an override was given
    """

    name: str = ""
    max_batch_size: int | None = None
    batching: bool | None = None
    max_delay: float = 0.0
    preferred_batch_sizes: tuple[int, ...] = ()
    queue: QueuePolicy = QueuePolicy()
    policy: VersionPolicy = VersionPolicy(latest=1)
    instances: int = 1
    inputs: tuple[TensorConfig, ...] = ()
    outputs: tuple[TensorConfig, ...] = ()
    warmup: tuple[Warmup, ...] = ()
    threading: Threading = Threading()
    run_limit: float = 0.0
    filename: str = "model.onnx"
    labels: Mapping[str, str] = field(default_factory=dict)
    declared: Mapping[str, object] | None = None
