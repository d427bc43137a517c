"""Whom a verified client certificate names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.core.errors import Unauthenticated
from gateway.security.identity import Identity, named


def of_peer(certificate: Mapping[str, Any] | None) -> Identity | None:
    """Out of what ``ssl.SSLSocket.getpeercert`` returns, which is empty for a certificate that was not verified."""
    if not certificate:
        return None
    subject = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    others = [value for _, value in certificate.get("subjectAltName", ()) if isinstance(value, str)]
    return _identity([*subject, *others])


def of_context(properties: Mapping[str, Iterable[bytes]]) -> Identity | None:
    """Out of a gRPC call's authentication context."""
    if "x509_pem_cert" not in properties:
        return None
    found = [*properties.get("x509_common_name", ()), *properties.get("x509_subject_alternative_name", ())]
    return _identity([name.decode(errors="replace") for name in found])


def _identity(texts: Iterable[str]) -> Identity | None:
    names = []
    for text in dict.fromkeys(texts):
        try:
            names.append(named("cert", text))
        except Unauthenticated:
            continue
    return Identity(tuple(names)) if names else None
