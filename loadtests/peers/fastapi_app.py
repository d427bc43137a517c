"""What many teams write by hand: FastAPI, pydantic and onnxruntime, for the protocol's JSON.

`python fastapi_app.py PORT MODEL`. /inline runs the model on the event loop, /pool in FastAPI's thread pool.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[2], options, ["CPUExecutionProvider"])
label, probabilities = (output.name for output in session.get_outputs())
app = FastAPI()


class InputTensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class InferRequest(BaseModel):
    id: str = ""
    inputs: list[InputTensor]


class OutputTensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class InferResponse(BaseModel):
    model_name: str
    model_version: str
    outputs: list[OutputTensor]


def predict(request: InferRequest) -> InferResponse:
    tensor = request.inputs[0]
    x = np.array(tensor.data, np.float32).reshape(tensor.shape)
    found: list[Any] = session.run([label, probabilities], {tensor.name: x})
    classes = np.array([list(row.values()) for row in found[1]], np.float32)
    outputs = [
        OutputTensor(name=label, shape=list(found[0].shape), datatype="INT64", data=found[0].ravel().tolist()),
        OutputTensor(name=probabilities, shape=list(classes.shape), datatype="FP32", data=classes.ravel().tolist()),
    ]
    return InferResponse(model_name="T", model_version="1", outputs=outputs)


@app.get("/ready")
async def ready() -> None:
    return None


@app.post("/inline")
async def inline(request: InferRequest) -> InferResponse:
    return predict(request)


@app.post("/pool")
def pool(request: InferRequest) -> InferResponse:
    return predict(request)


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False,
        log_level="warning",
    )  # fmt: skip
