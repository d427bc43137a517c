"""The OpenAPI 3.1 document: every route of the REST port, inference once for each version that is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from gateway import __version__
from gateway.core.errors import SluiceError
from gateway.core.signature import Signature
from gateway.models.manager import Manager
from gateway.protocols.doorman import rights
from gateway.protocols.oip.access import READ
from gateway.protocols.oip.versions import numbers, pinned, ready_models
from gateway.protocols.rest.body import reply
from gateway.protocols.rest.openapi.components import components
from gateway.protocols.rest.openapi.demand import Demand
from gateway.protocols.rest.openapi.model import component, data_schemas, model_schemas
from gateway.protocols.rest.openapi.operation import Schema, binary, operation, ref
from gateway.protocols.rest.openapi.paths import fixed_paths
from gateway.protocols.route import Call
from gateway.security.grant import Rights


class OpenApi:
    """Of `others` and itself."""

    def __init__(self, manager: Manager, demand: Demand, others: Sequence[Call]) -> None:
        self._manager = manager
        self._demand = demand
        self._others = others

    def routes(self) -> list[Call]:
        return [Call("/v2/openapi.json", self.document, READ)]

    async def document(self, request: Request) -> Response:
        found = document(self._manager, rights(request))
        self._demand.write(found["paths"], (*self._others, *self.routes()))
        found["components"]["securitySchemes"] = self._demand.schemes()
        return reply(found)


def document(manager: Manager, rights: Rights) -> dict[str, Any]:
    """The document, of what is loaded now and the caller may see, without a word on credentials."""
    paths = fixed_paths()
    schemas = components() | data_schemas()
    for model, version, default, signature in _loaded(manager, rights):
        schemas |= model_schemas(model, version, signature)
        name = quote(model, safe="")
        one = _infer(model, version, f"Infer: {model} version {version}")
        paths[f"/v2/models/{name}/versions/{version}/infer"] = one
        if default:
            paths[f"/v2/models/{name}/infer"] = _infer(model, version, f"Infer: {model}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice",
            "version": __version__,
            "description": "The Open Inference Protocol v2 and its extensions, over REST.",
        },
        "paths": _name(paths),
        "components": {"schemas": schemas},
    }


def _loaded(manager: Manager, rights: Rights) -> Iterator[tuple[str, str, bool, Signature]]:
    """Model, version, whether it is the model's default one, signature."""
    for model in filter(lambda name: rights.may("read", name), ready_models(manager)):
        try:
            with pinned(manager, model, "") as handle:
                default = handle.id.version
            for version in numbers(manager, model):
                with pinned(manager, model, version) as handle:
                    yield model, version, version == default, handle.servable.signature
        except SluiceError:  # unloaded in between
            continue


def _infer(model: str, version: str, summary: str) -> Schema:
    request, answer = (ref(component(model, version, part)) for part in ("request", "reply"))
    return {"post": binary(operation(summary, "inference", body=request, answer=answer))}


def _name(paths: dict[str, Schema]) -> dict[str, Schema]:
    """Gives every operation the identifier that generated clients call it by."""
    for path, item in paths.items():
        for verb, found in item.items():
            # what is not a letter stays distinct: generators make words of it as they like
            found["operationId"] = f"{verb}.{path.removeprefix('/').replace('/', '.')}"
    return paths
