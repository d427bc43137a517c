"""How a command talks to a gateway: one HTTP exchange at a time, with the standard library."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gateway.core.errors import InvalidArgument, SluiceError, Unavailable


class Refused(SluiceError):
    """The gateway answered with an error; the message is the gateway's own, `document` all that it said, where that is
    JSON."""

    def __init__(self, status: int, message: str, document: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.document = document


class Reply(NamedTuple):
    """Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Unavailable(f"the server's answer is no JSON: {self.body[:60]!r}") from error


class Client:
    """`url` is the server's, as in ``http://127.0.0.1:8002``; a path in it is a prefix. `timeout` is in seconds."""

    def __init__(self, url: str, token: str = "", ca_file: str = "", timeout: float = 30.0) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise InvalidArgument(f"'{url}': {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidArgument(f"expected a URL as in http://127.0.0.1:8002, found '{url}'")
        self.url = url.rstrip("/")
        self._tls = parts.scheme == "https"
        self._host = parts.hostname
        self._port = port
        self._prefix = parts.path.rstrip("/")
        self._token = token
        self._ca_file = ca_file
        self._timeout = timeout

    def call(self, method: str, path: str, document: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Sends and returns JSON. Raises Refused, Unavailable."""
        body = None if document is None else json.dumps(document).encode()
        sent = {**({"Content-Type": "application/json"} if body else {}), **(headers or {})}
        return self.send(method, path, body, sent).json()

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Raises Refused where the status is 400 or above, Unavailable where there is no answer."""
        sent = dict(headers or {})
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        connection = self._connection()
        try:
            connection.request(method, self._prefix + path, body, sent)
            response = connection.getresponse()
            reply = Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except (OSError, http.client.HTTPException, UnicodeEncodeError) as error:
            raise Unavailable(f"no answer from {self.url}: {_reason(error)}") from error
        finally:
            connection.close()
        if reply.status >= 400:
            raise _refused(reply)
        return reply

    def _connection(self) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            context = ssl.create_default_context(cafile=self._ca_file or None)
        except OSError as error:
            raise InvalidArgument(f"CA file '{self._ca_file}' cannot be read: {_reason(error)}") from error
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=context)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError | socket.timeout):
        return "it took too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); give --ca-file"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; is the gateway running?"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _refused(reply: Reply) -> Refused:
    try:
        document = json.loads(reply.body)
        return Refused(reply.status, str(document["error"]), document)
    except (ValueError, KeyError, TypeError):
        return Refused(reply.status, f"status {reply.status} {reply.body[:200].decode(errors='replace')}".strip())
