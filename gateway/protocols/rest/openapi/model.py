"""JSON schemas of a model's infer request and reply, made from its signature.

What JSON Schema cannot say stays unsaid: that the number of elements is the product of the shape; `NaN` and
`Infinity`, which the protocol writes although JSON has no words for them.
"""

from __future__ import annotations

import re

import numpy as np

from gateway.core.signature import Signature
from gateway.core.tensor import DATA_TYPES, TensorSpec
from gateway.protocols.rest.openapi.operation import Schema, ref


def component(model: str, version: str, part: str) -> str:
    """A component's name, of the characters that OpenAPI allows; different models give different names."""
    safe = re.sub(r"[^A-Za-z0-9_-]", lambda found: f".{ord(found[0]):x}.", model)
    return f"model.{safe}.v{version}.{part}"


def data_schemas() -> dict[str, Schema]:
    """The values of each datatype that travels in JSON, flat or nested row-major."""
    return {f"data.{name}": _data(name) for name in DATA_TYPES if name not in ("FP16", "BF16")}


def model_schemas(model: str, version: str, signature: Signature) -> dict[str, Schema]:
    """The components `request` and `reply` of one version."""
    return {
        component(model, version, "request"): _request(signature),
        component(model, version, "reply"): _reply(model, signature),
    }


def _data(datatype: str) -> Schema:
    element: Schema
    if datatype == "BOOL":
        element = {"type": "boolean"}
    elif datatype == "BYTES":
        element = {"type": "string"}
    elif datatype.startswith("FP"):
        limit = float(np.finfo(DATA_TYPES[datatype].dtype).max)
        element = {"type": "number", "minimum": -limit, "maximum": limit}
    else:
        limits = np.iinfo(DATA_TYPES[datatype].dtype)
        element = {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
    return {"type": "array", "items": {"anyOf": [element, ref(f"data.{datatype}")]}}


def _request(signature: Signature) -> Schema:
    inputs = [_input(spec) for spec in signature.inputs.values()]
    items: Schema = {"anyOf": inputs} if len(inputs) > 1 else inputs[0] if inputs else {}
    names: list[str] = list(signature.outputs)
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": ref("parameters"),
            "inputs": {"type": "array", "minItems": len(inputs), "maxItems": len(inputs), "items": items},
            "outputs": {
                "type": "array",
                "maxItems": len(names),
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"enum": names}, "parameters": ref("output-parameters")},
                },
            },
        },
    }


def _input(spec: TensorSpec) -> Schema:
    """One of the model's inputs, its values in `data` or where `parameters` say."""
    head: Schema = {
        "name": {"const": spec.name},
        "datatype": {"const": spec.datatype.name},
        "shape": _shape(spec.shape),
    }
    required = [*head, "parameters"]
    elsewhere: Schema = {
        "type": "object",
        "required": required,
        "properties": {**head, "parameters": ref("input-parameters")},
    }
    if spec.datatype.name in ("FP16", "BF16"):
        return elsewhere
    inline: Schema = {
        "type": "object",
        "required": [*head, "data"],
        "properties": {**head, "data": ref(f"data.{spec.datatype.name}")},
    }
    return {"anyOf": [inline, elsewhere]}


def _shape(dims: tuple[int, ...]) -> Schema:
    sizes: list[Schema] = [{"const": n} if n >= 0 else {"type": "integer", "minimum": 0} for n in dims]
    schema: Schema = {"type": "array", "minItems": len(sizes), "maxItems": len(sizes)}
    return {**schema, "prefixItems": sizes} if sizes else schema


def _reply(model: str, signature: Signature) -> Schema:
    """`datatype` and `shape` are open: a classified output is BYTES of a shape of its own."""
    names = list(signature.outputs)
    return {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "id": {"type": "string"},
            "model_name": {"const": model},
            "model_version": {"type": "string"},
            "parameters": ref("parameters"),
            "outputs": {
                "type": "array",
                "maxItems": len(names),
                "items": {
                    "type": "object",
                    "required": ["name", "datatype", "shape"],
                    "properties": {
                        "name": {"enum": names},
                        "datatype": {"enum": list(DATA_TYPES)},
                        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                        "data": {"type": "array"},
                        "parameters": ref("parameters"),
                    },
                },
            },
        },
    }
