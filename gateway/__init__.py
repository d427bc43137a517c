"""Sluice: versioned ONNX models over the Open Inference Protocol, with traffic splits between versions."""

__version__ = "0.1.0"
