"""An OpenID provider as far as a gateway knows it: keys at a URL, and tokens that are signed with them."""

from __future__ import annotations

import hmac
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

ISSUER = "https://id.example"
AUDIENCE = "sluice"

Private = RSAKey | ECKey | OKPKey


class Issuer:
    """`keys` by id are what it publishes, at `url`; without `up` it answers 503. `name` is what it says that it is, at
    `<base>/.well-known/openid-configuration`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = self.base = url.rpartition("/")[0]
        self.up = True
        self.asked = 0
        self.extra = b""
        self.keys: dict[str, Private] = {}

    def publish(self, key_id: str, key: Private | None = None) -> Private:
        self.keys[key_id] = made = key or ECKey.generate_key("P-256")
        return made

    def document(self) -> bytes:
        keys = [{**key.as_dict(private=False), "kid": key_id, "use": "sig"} for key_id, key in self.keys.items()]
        return json.dumps({"keys": keys}).encode()


def token(key: Any, key_id: str = "", algorithm: str = "ES256", header: Any = None, **claims: Any) -> str:
    """Good for five minutes, unless the claims say otherwise; one that is None is left out."""
    given = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": time.time() + 300, **claims}
    head = {"alg": algorithm, **({"kid": key_id} if key_id else {}), **(header or {})}
    payload = {name: value for name, value in given.items() if value is not None}
    return jws.serialize_compact(head, json.dumps(payload), key, registry=_Any(algorithm))


def unsigned(**claims: Any) -> str:
    """What RFC 7519 calls an unsecured JWT."""
    payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": time.time() + 300, **claims}
    return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(payload)}."


def signed_with_public(key: RSAKey, key_id: str) -> str:
    """An HMAC whose secret is the public key, which anybody has."""
    payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": time.time() + 300}
    text = f"{_part({'alg': 'HS256', 'typ': 'JWT', 'kid': key_id})}.{_part(payload)}"
    signature = hmac.digest(key.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


def _part(document: Any) -> str:
    return urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


class _Any(jws.JWSRegistry):
    """Signs whatever header it is given; joserfc would warn of the name EdDSA, which providers go on using."""

    max_header_length = 8192

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithms=[algorithm], strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]

    def check_header(self, header: Any) -> None:
        pass


@contextmanager
def issuing() -> Iterator[Issuer]:
    found: list[Issuer] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer = found[0]
            issuer.asked += 1
            about = {"issuer": issuer.name, "jwks_uri": issuer.url}
            known = json.dumps(about).encode() if self.path.endswith("/openid-configuration") else issuer.document()
            body = known + issuer.extra if issuer.up else b"{}"
            self.send_response(200 if issuer.up else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.append(Issuer(f"http://127.0.0.1:{server.server_port}/keys"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
