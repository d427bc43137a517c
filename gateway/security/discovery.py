"""Where an issuer's keys are, by what it says of itself (OpenID Connect Discovery 1.0)."""

from __future__ import annotations

import json
import re
import time
from typing import Final

from gateway.core.errors import Unavailable
from gateway.security.download import download

WELL_KNOWN: Final = "/.well-known/openid-configuration"

_EITHER: Final = re.compile(r"https?://[^/\s]\S*")
_SECURE: Final = re.compile(r"https://[^/\s]\S*")


async def discovered_keys(issuer: str, *, patience: float, ca_file: str = "") -> bytes:
    """The issuer's JWK set, wherever it says now that it is; within `patience` seconds in all. Raises Unavailable."""
    end = time.monotonic() + patience
    url = issuer.rstrip("/") + WELL_KNOWN
    found = jwks_uri(await download(url, patience=patience, ca_file=ca_file), issuer, url)
    return await download(found, patience=max(0.001, end - time.monotonic()), ca_file=ca_file)


def jwks_uri(document: bytes, issuer: str, url: str) -> str:
    """Out of what `url` said. Raises Unavailable where it is not this issuer's, to the letter, or names no keys that
    are as safe to fetch as it was itself."""
    try:
        told = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise Unavailable(f"{url}: expected JSON: {error}") from error
    if not isinstance(told, dict) or told.get("issuer") != issuer:
        found = told.get("issuer") if isinstance(told, dict) else told
        raise Unavailable(f"{url}: expected issuer '{issuer}', found {str(found)[:200]!r}")
    keys, secure = told.get("jwks_uri"), issuer.startswith("https:")
    if not isinstance(keys, str) or not (_SECURE if secure else _EITHER).fullmatch(keys):
        wanted = "https://…" if secure else "http://… or https://…"
        raise Unavailable(f"{url}: jwks_uri: expected {wanted}, found {str(keys)[:200]!r}")
    return keys
