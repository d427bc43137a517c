from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest

from gateway.core.signature import Signature
from gateway.core.tensor import DATA_TYPES, TensorSpec
from gateway.protocols.rest.openapi.components import components
from gateway.protocols.rest.openapi.model import component, data_schemas, model_schemas

SIGNATURE = Signature(
    [
        TensorSpec("x", DATA_TYPES["FP32"], (-1, 2)),
        TensorSpec("flags", DATA_TYPES["UINT8"], (-1,)),
        TensorSpec("half", DATA_TYPES["FP16"], ()),
    ],
    [TensorSpec("y", DATA_TYPES["BYTES"], (-1,))],
)


def _validator(part: str) -> jsonschema.Draft202012Validator:
    schemas = components() | data_schemas() | model_schemas("m", "1", SIGNATURE)
    root = {"$ref": f"#/components/schemas/{component('m', '1', part)}", "components": {"schemas": schemas}}
    jsonschema.Draft202012Validator.check_schema(root)
    return jsonschema.Draft202012Validator(root)


def _request() -> dict[str, Any]:
    return {
        "id": "1",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2.5], [3, 4]]},
            {"name": "flags", "datatype": "UINT8", "shape": [2], "data": [0, 255]},
            {"name": "half", "datatype": "FP16", "shape": [], "parameters": {"binary_data_size": 2}},
        ],
        "outputs": [{"name": "y", "parameters": {"classification": 1}}],
    }


def test_a_request_as_the_protocol_has_it_is_valid() -> None:
    _validator("request").validate(_request())


@pytest.mark.parametrize(
    ("index", "changes"),
    [
        (0, {"name": "z"}),
        (0, {"datatype": "FP64"}),
        (0, {"shape": [2, 3]}),
        (0, {"shape": [-1, 2]}),
        (0, {"shape": [2]}),
        (0, {"data": [["a"]]}),
        (0, {"data": 1}),
        (0, {"data": [1e39]}),
        (1, {"data": [256]}),
        (1, {"data": [1.5]}),
        (2, {"parameters": None, "data": [1]}),
    ],
)
def test_what_the_model_does_not_take_is_not(index: int, changes: dict[str, Any]) -> None:
    request = _request()
    request["inputs"][index] |= changes
    assert not _validator("request").is_valid(request)


def test_every_input_is_required_and_no_output_is_unknown() -> None:
    fewer = _request()
    del fewer["inputs"][0]
    assert not _validator("request").is_valid(fewer)
    assert not _validator("request").is_valid(_request() | {"outputs": [{"name": "x"}]})


def test_a_reply() -> None:
    output = {"name": "y", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    _validator("reply").validate({"model_name": "m", "model_version": "1", "outputs": [output]})
    assert not _validator("reply").is_valid({"model_name": "n", "model_version": "1", "outputs": [output]})


def test_a_model_without_inputs() -> None:
    schemas = model_schemas("m", "1", Signature([], SIGNATURE.outputs.values()))
    request = schemas[component("m", "1", "request")]
    assert jsonschema.Draft202012Validator(request["properties"]["inputs"]).is_valid([])


def test_names_of_components_are_of_the_characters_allowed_and_distinct() -> None:
    models = ["a", "A", "a b", "a.20.b", "ä", "a/b", "a_b", "a-b", "a.v1.request"]
    names = [component(model, "1", part) for model in models for part in ("request", "reply")]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)
