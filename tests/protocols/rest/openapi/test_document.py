from __future__ import annotations

from typing import Any

import httpx
import jsonschema
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.protocols.rest.openapi.paths import fixed_paths


def _document(server: Any) -> dict[str, Any]:
    reply = httpx.get(f"{server.rest}/v2/openapi.json")
    assert reply.status_code == 200
    found: dict[str, Any] = reply.json()
    return found


def test_the_document_is_openapi(server: Any) -> None:
    OpenAPIV31SpecValidator(_document(server)).validate()


def test_every_version_that_is_loaded_has_schemas_of_its_own(server: Any) -> None:
    document = _document(server)
    for path, component in (
        ("/v2/models/affine/infer", "model.affine.v2.request"),
        ("/v2/models/affine/versions/1/infer", "model.affine.v1.request"),
        ("/v2/models/echo/infer", "model.echo.v1.request"),
    ):
        content = document["paths"][path]["post"]["requestBody"]["content"]
        assert content["application/json"]["schema"] == {"$ref": f"#/components/schemas/{component}"}


def test_a_reply_is_valid_by_its_schema(server: Any) -> None:
    document = _document(server)
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
    for part, instance in (
        ("request", body),
        ("reply", httpx.post(f"{server.rest}/v2/models/affine/infer", json=body).json()),
    ):
        root = {"$ref": f"#/components/schemas/model.affine.v2.{part}", "components": document["components"]}
        jsonschema.Draft202012Validator(root).validate(instance)


def test_every_route_is_documented(server: Any) -> None:
    """The verbs that a path takes are those of the document."""
    with httpx.Client(base_url=server.rest) as client:
        for path, item in fixed_paths().items():
            concrete = path.format(model="affine", version="1", region="r") if "{" in path else path
            reply = client.delete(concrete)
            assert reply.status_code == 405, path
            assert {verb.lower() for verb in reply.headers["allow"].split(", ")} - {"head"} == set(item)
