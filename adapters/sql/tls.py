"""Whom a connection trusts, and as whom it comes: what a URL's parameters say of TLS."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from gateway.core.stream import Transient


def context(options: Mapping[str, str], authority: str, certificate: str, key: str) -> ssl.SSLContext:
    """The other names are those of the parameters that name files, read at each connect; without an authority the
    system's are trusted. Raises Transient where a file cannot be used, because it may come."""
    name = authority
    try:
        made = ssl.create_default_context(cafile=options.get(authority))
        if certificate in options:
            name = certificate
            made.load_cert_chain(options[certificate], options.get(key))
    except (OSError, ssl.SSLError) as error:
        raise Transient(f"url: {name} '{options.get(name, '')}' cannot be used: {error}") from error
    return made
