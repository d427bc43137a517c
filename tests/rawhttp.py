"""A client that sends exactly the bytes that it is given, and reads replies one by one."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of an error, which is all that such a body has."""
        found = self.json
        assert list(found) == ["error"], found
        assert found["error"]
        return str(found["error"])

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"


class Raw:
    """One connection. `host` is host:port. No call waits for more than `timeout` seconds."""

    def __init__(self, host: str, timeout: float = 15.0) -> None:
        name, _, port = host.rpartition(":")
        self.socket = socket.create_connection((name, int(port)), timeout)
        self._read = b""

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Raw:
        """Sends all of it, or as much as the server takes before it hangs up."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)
        return self

    def slowly(self, data: bytes, step: int = 1) -> Raw:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), step):
            self.send(data[at : at + step])
        return self

    def reply(self, *, bodiless: bool = False) -> Reply:
        """The next one. `bodiless`: the answer to HEAD. Raises EOFError where the server has closed instead."""
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1", first
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), f"a header is there twice: {pairs}"
        length = 0 if bodiless or status == "100" else int(headers["content-length"])
        while len(self._read) < length:
            self._more()
        body, self._read = self._read[:length], self._read[length:]
        return Reply(int(status), headers, body)

    def ends(self) -> bool:
        """Waits until the server closes; whether that is all that still comes."""
        try:
            return not self._read and self.socket.recv(1) == b""
        except ConnectionResetError:
            return not self._read

    def vanish(self) -> None:
        """Closes with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError(f"the server closed after {self._read!r}")
        self._read += data


def request(
    path: str, body: bytes = b"", *headers: str, method: str = "POST", length: int | str | None = None
) -> bytes:
    """`length` None: that of the body; "": no such header."""
    size = len(body) if length is None else length
    lines = [f"{method} {path} HTTP/1.1", "Host: test", *headers]
    if size != "":
        lines.append(f"Content-Length: {size}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def tensor(name: str, shape: Sequence[int], datatype: str, data: object = None, **parameters: object) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "shape": list(shape), "datatype": datatype}
    if data is not None:
        found["data"] = data
    if parameters:
        found["parameters"] = parameters
    return found


def infer(
    model: str, *inputs: dict[str, Any], path: str = "", headers: Sequence[str] = (), **document: object
) -> bytes:
    """An infer request in JSON."""
    body = json.dumps({"inputs": inputs, **document}).encode()
    return request(path or f"/v2/models/{model}/infer", body, *headers)


def chunked(path: str, *chunks: bytes, trailer: bytes = b"", headers: Sequence[str] = ()) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return request(path, b"", "Transfer-Encoding: chunked", *headers, length="") + body + b"0\r\n" + trailer + b"\r\n"
