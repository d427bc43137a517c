"""A runtime for MLServer that runs an ONNX model by onnxruntime, as MLServer's guide to custom runtimes has it."""

from __future__ import annotations

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri


class OnnxModel(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = await get_model_uri(self._settings)
        self.session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        x = NumpyCodec.decode_input(tensor).astype(np.float32, copy=False)
        label, classes = self.session.run(self.names, {tensor.name: x})
        probabilities = np.array([list(row.values()) for row in classes], np.float32)
        outputs = [
            NumpyCodec.encode_output(name, values)
            for name, values in zip(self.names, (label, probabilities), strict=True)
        ]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
