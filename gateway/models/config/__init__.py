"""What config.pbtxt and model.yaml say of a model, and what is told of it."""

from gateway.models.config.model import (
    ModelConfig,
    QueuePolicy,
    TensorConfig,
    Threading,
    VersionPolicy,
    Warmup,
    WarmupInput,
)

__all__ = ["ModelConfig", "QueuePolicy", "TensorConfig", "Threading", "VersionPolicy", "Warmup", "WarmupInput"]
