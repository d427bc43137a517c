from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from gateways import OPENED, Server, put, running
from onnx import helper
from small_models import ELEMENTS, affine, identity, laps, model

from gateway import pb

TOKEN = "t0ken"
SERVICE = "inference.GRPCInferenceService"
LABELLED = """
max_batch_size: 8
input [{ name: "x" data_type: TYPE_FP32 dims: [3] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [3] label_filename: "labels.txt" }]
"""


def two() -> bytes:
    """Inputs `a` and `b`, outputs `sum` and `text` (of the input `text`)."""
    return model(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Identity", ["text"], ["same"])],
        {"a": ("FP32", ["n", 2]), "b": ("FP32", ["n", 2]), "text": ("BYTES", ["m"])},
        {"sum": ("FP32", ["n", 2]), "same": ("BYTES", ["m"])},
    )


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for version, factor in ((1, 2.0), (2, 3.0)):
        put(folder, "affine", version, affine(factor), config="version_policy: { all {} }\n")
    for kind in ELEMENTS:
        put(folder, f"echo-{kind}", 1, identity(kind, ["n"]))
    put(folder, "two", 1, two())
    put(folder, "image", 1, identity("FP32", [1, 3, 300, 300]))
    put(folder, "spare", 1, affine(5.0))
    put(folder, "labelled", 1, identity("FP32", ["n", 3]), config=LABELLED)
    (folder / "labelled" / "labels.txt").write_text("ant\nbee\ncat\n")
    put(folder, "laps", 1, laps())
    # one that has a limit never runs on the event loop
    (folder / "laps" / "model.yaml").write_text("run_limit: 20\n")
    return folder


Start = Callable[..., Server]


@pytest.fixture(scope="session")
def start(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a server with these settings; they all end with the session."""
    with ExitStack() as stack:

        def start(**settings: str) -> Server:
            chosen = {"control_mode": "explicit", "load": "*", **settings}
            return stack.enter_context(running(models, tmp_path_factory.mktemp("state"), **chosen))

        yield start


@pytest.fixture(scope="session")
def server(start: Start) -> Server:
    """One server with everything open, in mode `explicit`. What a test loads or sets, it takes back."""
    return start(**OPENED)


@pytest.fixture(scope="session")
def guarded(start: Start) -> Server:
    """A server with the settings that one gets without asking, but for the mode."""
    return start(admin_token=TOKEN)


class Stub:
    """Calls by name, on messages of our own pool."""

    def __init__(self, channel: grpc.Channel, server: Server) -> None:
        self.channel = channel
        self._server = server

    def __call__(self, name: str, /, timeout: float = 20.0, metadata: Any = (), **fields: Any) -> Any:
        return self.send(name, pb.message(f"{name}Request")(**fields).SerializeToString(), timeout, metadata)

    def send(self, name: str, body: bytes, timeout: float = 20.0, metadata: Any = (), **how: Any) -> Any:
        read = pb.message(f"{name}Response").FromString
        call = self.channel.unary_unary(f"/{SERVICE}/{name}", None, read)
        return call(body, timeout=timeout, metadata=metadata, **how)

    def begin(self, name: str, /, timeout: float = 20.0, **fields: Any) -> Any:
        """The call's future."""
        read = pb.message(f"{name}Response").FromString
        call = self.channel.unary_unary(f"/{SERVICE}/{name}", None, read)
        return call.future(pb.message(f"{name}Request")(**fields).SerializeToString(), timeout=timeout)

    def refused(self, name: str, /, *given: Any, **fields: Any) -> tuple[str, str]:
        """The status' name and its details."""
        with pytest.raises(grpc.RpcError) as failure:
            self.send(name, *given, **fields) if given else self(name, **fields)
        return failure.value.code().name, failure.value.details()

    def await_pending(self, model: str, count: int) -> None:
        """Until so many requests wait in the queue of the model's version 1."""
        line = f'sluice_pending_requests{{model="{model}",version="1"}} {count}'
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if line in (page := httpx.get(f"{self._server.admin}/metrics").text).splitlines():
                return
        raise AssertionError(f"{line} is not in {page}")

    def stream(self, messages: Any, **how: Any) -> Any:
        """ModelStreamInfer of messages, or bytes."""
        read = pb.message("ModelStreamInferResponse").FromString
        call = self.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", None, read)
        bodies = (m if isinstance(m, bytes) else m.SerializeToString() for m in messages)
        return call(bodies, timeout=20, **how)


@pytest.fixture
def stub(server: Server) -> Iterator[Stub]:
    with grpc.insecure_channel(server.grpc, [("grpc.max_send_message_length", -1)]) as channel:
        yield Stub(channel, server)
