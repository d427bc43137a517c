"""One gateway that everybody has to pass: REST, gRPC and admin over TLS, with keys, tokens and certificates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateways import put, running
from issuer import AUDIENCE, ISSUER, Issuer, issuing
from joserfc.jwk import RSAKey
from small_models import affine
from surface import POLICIES, TOKEN, Surface


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    with issuing() as found:
        found.publish("rsa", RSAKey.generate_key(2048))
        found.publish("ec")
        yield found


@pytest.fixture(scope="session")
def surface(issuer: Issuer, certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surface]:
    models = tmp_path_factory.mktemp("models")
    for name, factor in (("churn-a", 2.0), ("churn-b", 3.0), ("fraud", 4.0)):
        put(models, name, 1, affine(factor))
    files = {"cert": "server.pem", "key": "server.key", "client_ca": "ca.pem"}
    settings = {f"tls_{name}": str(certificates / file) for name, file in files.items()}
    with running(
        models,
        tmp_path_factory.mktemp("state"),
        admin_token=TOKEN,
        tls_client_auth="optional",
        tls_admin="true",
        restricted_load_files="true",
        restricted_repository="open",
        restricted_shared_memory="open",
        auth_policies=json.dumps(POLICIES),
        auth_jwt_issuer=ISSUER,
        auth_jwt_audience=AUDIENCE,
        auth_jwt_jwks_url=issuer.url,
        auth_jwt_cooldown="0",
        **settings,
    ) as server:
        yield Surface(server, certificates, issuer)
