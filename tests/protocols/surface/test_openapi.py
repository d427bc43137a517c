"""What a client that reads the OpenAPI document learns of credentials, against what the server then wants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gateways import Server, put, running
from openapi_spec_validator import OpenAPIV31SpecValidator
from small_models import affine
from surface import TOKEN, Surface, bearer


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    put(models := tmp_path_factory.mktemp("models"), "affine", 1, affine(2.0))
    with running(models, tmp_path_factory.mktemp("state"), admin_token=TOKEN) as server:
        yield server


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    OpenAPIV31SpecValidator(document).validate()
    for path, item in document["paths"].items():
        for verb, found in item.items():
            yield path.format(model="no-such", version="1", region="none"), verb, found.get("security", [])


def test_a_closed_gateway(surface: Surface) -> None:
    url = surface.server.rest
    document = surface.send("GET", f"{url}/v2/openapi.json", bearer(TOKEN)).json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "key", "certificate"}
    with surface.client() as client:
        for path, verb, security in operations(document):
            free = path.startswith("/v2/health")
            assert security == ([] if free else [{"bearer": []}, {"key": []}, {"certificate": []}]), path
            assert (client.request(verb, url + path).status_code == 401) != free, path


def test_an_open_gateway_until_its_first_key(opened: Server) -> None:
    with httpx.Client(base_url=opened.rest) as client:
        for path, verb, security in operations(client.get("/v2/openapi.json").json()):
            assert (client.request(verb, path).status_code == 401) == bool(security), path
        made = httpx.post(
            f"{opened.admin}/admin/v1/keys", json={"name": "ann", "allow": ["read"]},
            headers={"Authorization": f"Bearer {TOKEN}"},
        )  # fmt: skip
        assert client.get("/v2/openapi.json").status_code == 401
        document = client.get("/v2/openapi.json", headers={"x-api-key": made.json()["key"]}).json()
        assert document["paths"]["/v2"]["get"]["security"] == [{"bearer": []}, {"key": []}]
