"""The field that says whom a request is for (RFC 9112, 3.2; RFC 3986, 3.2.2).

This server is the same under every name. What stands before it may not be, and if the two took different hosts out of
one request, the one would let pass what the other answers.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.protocols.http import head

#: a name or an address, and a port; it may be empty, where the target has none
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[A-Fa-f0-9:.vV]+(?:%[A-Za-z0-9._~-]+)?\])(?::[0-9]*)?")


def wrong_host(headers: head.Headers, fields: head.Fields, version: str) -> str:
    """Why a request is refused; "" for none. `fields` are the same, each once."""
    host = fields.get(b"host")
    if host is None:
        return "" if version == "1.0" else "no Host header, expected one"
    if len(fields) != len(headers) and sum(name == b"host" for name, _ in headers) > 1:
        return "more than one Host header, expected one"
    if _HOST.fullmatch(host) is None:
        return f"Host is {host.decode('latin-1')[:80]!r}, expected a name or an address, and a port"
    return ""
