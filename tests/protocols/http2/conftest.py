"""A peer that says what it likes: frames by hand, on a real socket, to a real server."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from gateways import Server, put, running
from hpack import Decoder, Encoder
from small_models import affine, identity, laps

from gateway import pb
from gateway.protocols.http2 import frames

SERVICE = "inference.GRPCInferenceService"
CALL = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", f"/{SERVICE}/ModelInfer"),
    (":authority", "here"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


def body(model: str = "affine", values: Any = (1.0, 2.0, 3.0, 4.0), datatype: str = "FP32") -> bytes:
    """A message with its prefix."""
    found = pb.message("ModelInferRequest")(model_name=model)
    name = "n" if model == "laps" else "x"
    raw = struct.pack(f"<{len(values)}{'f' if datatype == 'FP32' else 'q'}", *values)
    found.inputs.add(name=name, datatype=datatype, shape=() if model == "laps" else (1, len(values)))
    found.raw_input_contents.append(raw)
    whole: bytes = found.SerializeToString()
    return b"\0" + len(whole).to_bytes(4, "big") + whole


class Peer:
    def __init__(self, address: str, settings: dict[int, int] | None = None) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), 10)
        self.encoder, self.decoder = Encoder(), Decoder()
        self._rest = b""
        if settings is not None:
            self.send(frames.PREFACE + frames.settings(settings))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def head(self, number: int, fields: Any = CALL, *, flags: int = frames.END_HEADERS) -> bytes:
        return frames.frame(frames.HEADERS, flags, number, self.encoder.encode(fields))

    def call(self, number: int, message: bytes | None = None, fields: Any = CALL) -> None:
        data = frames.frame(frames.DATA, frames.END_STREAM, number, body() if message is None else message)
        self.send(self.head(number, fields) + data)

    def frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Type, flags, stream, payload, until the server closes."""
        while True:
            while len(self._rest) >= 9:
                high, low, kind, flags, number = frames.HEAD.unpack_from(self._rest)
                end = 9 + (high << 16 | low)
                if len(self._rest) < end:
                    break
                payload, self._rest = self._rest[9:end], self._rest[end:]
                yield kind, flags, number, payload
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return
            if not data:
                return
            self._rest += data

    def reply(self, number: int) -> tuple[dict[str, str], bytes]:
        """The fields of head and trailers together, and the data, of a stream that ends well or not."""
        fields: dict[str, str] = {}
        data = b""
        for kind, flags, stream, payload in self.frames():
            if kind == frames.HEADERS:
                found = dict(self.decoder.decode(payload))
                if stream == number:
                    fields |= found
                    if flags & frames.END_STREAM:
                        return fields, data
            elif stream == number and kind == frames.DATA:
                data += payload
            elif kind == frames.RST_STREAM and stream == number:
                return fields | {"reset": str(frames.number(payload))}, data
            elif kind == frames.GOAWAY:
                raise AssertionError(payload)
        raise AssertionError("the connection was closed")

    def goodbye(self) -> tuple[int, str]:
        """Code and reason of the GOAWAY with which the server closes; (-1, "") where it only closes."""
        found = -1, ""
        for kind, _, _, payload in self.frames():
            if kind == frames.GOAWAY:
                found = struct.unpack(">I", payload[4:8])[0], payload[8:].decode()
        return found

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    models = tmp_path_factory.mktemp("models")
    put(models, "affine", 1, affine(2.0))
    put(models, "echo", 1, identity("FP32", ["n", "m"]))
    put(models, "laps", 1, laps())
    (models / "laps" / "model.yaml").write_text("run_limit: 20\n")
    with ExitStack() as stack:

        def start(**settings: str) -> Server:
            return stack.enter_context(running(models, tmp_path_factory.mktemp("state"), **settings))

        yield start


@pytest.fixture(scope="session")
def server(start: Callable[..., Server]) -> Server:
    return start()


@pytest.fixture
def peer(server: Server) -> Iterator[Peer]:
    with Peer(server.grpc, {}) as peer:
        yield peer


def resident(server: Server) -> int:
    """kB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
