"""Operations, replies and small schemas that all paths are made of."""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}

JSON: Final = "application/json"
BINARY: Final = "application/octet-stream"


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def record(**properties: Schema) -> Schema:
    """An object that has all of `properties`."""
    return {"type": "object", "required": list(properties), "properties": properties}


def operation(
    summary: str,
    tag: str,
    *,
    answer: Schema | None,
    body: Schema | None = None,
    parameters: tuple[str, ...] = (),
    also: dict[str, Schema] | None = None,
) -> Schema:
    """`answer` None: 200 without a body. `also`: further statuses with schemas of their own."""
    operation: Schema = {"summary": summary, "tags": [tag], "responses": {"200": _response("Done", answer)}}
    for status, schema in (also or {}).items():
        operation["responses"][status] = _response("Not now", schema)
    operation["responses"]["default"] = _response("What is wrong", ref("error"))
    if body is not None:
        required = tag == "inference"
        operation["requestBody"] = {"required": required, "content": {JSON: {"schema": body}}}
    if parameters:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in parameters
        ]
    return operation


def binary(operation: Schema) -> Schema:
    """Adds the binary form: JSON of so many bytes as a header says, then the tensors' bytes."""
    operation["requestBody"]["content"][BINARY] = {}
    answer = operation["responses"]["200"]
    answer["content"][BINARY] = {}
    header = {"description": "Bytes of JSON before the tensors' bytes.", "schema": COUNT}
    answer["headers"] = {"Inference-Header-Content-Length": header}
    key = {"name": "sluice-key", "in": "header", "description": "What a traffic split sticks to."}
    operation["parameters"] = [
        *operation.get("parameters", ()),
        {**header, "name": "Inference-Header-Content-Length", "in": "header"},
        {**key, "schema": TEXT},
    ]
    return operation


def _response(description: str, schema: Schema | None) -> Schema:
    if schema is None:
        return {"description": description}
    return {"description": description, "content": {JSON: {"schema": schema}}}
