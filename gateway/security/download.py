"""One small document from an HTTP server, within a limit of time and of size."""

from __future__ import annotations

import asyncio
import http.client
import io
import ssl
from typing import Any, Final, cast
from urllib.parse import urlsplit

from gateway.core.errors import Unavailable

LARGEST: Final = 1 << 20


async def download(url: str, *, patience: float, ca_file: str = "") -> bytes:
    """GET, whole within `patience` seconds; only a 200 is an answer, redirects are not followed. Raises Unavailable."""
    try:
        async with asyncio.timeout(patience):
            raw = await _exchange(url, ca_file)
        response = http.client.HTTPResponse(cast(Any, _Read(raw)), method="GET")
        response.begin()
        body = response.read()
    except TimeoutError as error:
        raise Unavailable(f"{url}: no answer within {patience:g} s") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(f"{url}: {error or type(error).__name__}") from error
    if response.status != 200:
        raise Unavailable(f"{url}: status {response.status}")
    return body


async def _exchange(url: str, ca_file: str) -> bytes:
    """Everything that the server sends until it closes."""
    parts = urlsplit(url)
    tls = ssl.create_default_context(cafile=ca_file or None) if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls)
    try:
        writer.write(request.encode("ascii"))
        received = bytearray()
        while data := await reader.read(1 << 16):
            received += data
            if len(received) > LARGEST:
                raise ValueError(f"the answer exceeds {LARGEST} bytes")
        return bytes(received)
    finally:
        writer.transport.abort()


class _Read:
    """What was received, as the socket that http.client reads from."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)
