"""Models in ONNX files. Nothing of onnxruntime is outside of this room."""

from gateway.models.onnx.runtime import OnnxModel, Runtime, runtime_name

__all__ = ["OnnxModel", "Runtime", "runtime_name"]
