"""Who is measured: Sluice, and the limits that it is measured against."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loadtests.load import Request
from loadtests.process import SERVER_CORE, Process, free_port

LIMITS = Path(__file__).parent / "limits"


class Folder:
    """What `loadtests.models` made, and a place for logs and state."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.scratch = path / "scratch"
        self.scratch.mkdir(exist_ok=True)

    def model(self, name: str) -> Path:
        return self.path / ("tree" if name == "T" else "nets") / name / "1" / "model.onnx"

    def request(self, url: str, name: str, *, binary: bool = False) -> Request:
        body = self.path / "requests" / f"{name.partition('_')[0]}.{'bin' if binary else 'json'}"
        return Request(url, body, body.with_suffix(".bin.head").read_text() if binary else "")


class Sluice(Process):
    """One worker, unless `settings` say more. `settings` are those of its file."""

    def __init__(
        self,
        folder: Folder,
        models: Path,
        settings: Mapping[str, Any] | None = None,
        name: str = "Sluice",
        cores: str = str(SERVER_CORE),
    ) -> None:
        port, admin, grpc = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.admin_url = f"http://127.0.0.1:{admin}"
        self.grpc_port = grpc
        state = folder.scratch / f"state-{port}"
        config = folder.scratch / f"sluice-{port}.yaml"
        # JSON is YAML
        own = {"state": str(state), "admin_token": "bench", "grpc_port": grpc}
        config.write_text(json.dumps(own | dict(settings or {})))
        command = [
            sys.executable,
            "-m",
            "gateway.cli",
            "serve",
            "--config",
            str(config),
            "--models",
            str(models),
        ]
        super().__init__(
            name,
            [*command, "--host", "127.0.0.1", "--http-port", str(port), "--admin-port", str(admin)],
            ready=f"{self.url}/v2/health/ready",
            log=folder.scratch / f"sluice-{port}.log",
            cores=cores,
        )

    def infer(self, model: str) -> str:
        return f"{self.url}/v2/models/{model}/infer"


class Fixed(Process):
    """A server of `limits/` that answers every request with the same reply."""

    def __init__(self, folder: Folder, name: str, script: str, reply: bytes) -> None:
        port = free_port()
        path = folder.scratch / f"reply-{port}.json"
        path.write_bytes(reply)
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(
            name,
            [sys.executable, str(LIMITS / script), str(port), str(path)],
            ready=f"{self.url}/",
            log=folder.scratch / f"{name.replace(' ', '-')}.log",
        )


class Limit(NamedTuple):
    """What onnxruntime alone reaches: rows a second, CPU in µs a row."""

    rate: float
    cpu: float


class Runtime(Process):
    """onnxruntime alone."""

    def __init__(self, folder: Folder) -> None:
        command = [sys.executable, str(LIMITS / "runtime.py")]
        super().__init__("onnxruntime", command, pipes=True, log=folder.scratch / "runtime.log")
        self._folder = folder

    def rate(self, model: str, rows: int, seconds: float) -> Limit:
        """Of runs over `rows` rows."""
        return Limit(**self._ask(model, rows=rows, seconds=seconds))

    def decoding_rate(self, model: str, request: Request, seconds: float) -> Limit:
        """Of runs over one request, which is decoded from JSON by msgspec and numpy each time."""
        return Limit(**self._ask(model, request=str(request.body), seconds=seconds))

    def decode_rate(self, model: str, request: Request, seconds: float, by: str) -> Limit:
        """Of decoding one request, without a run; by "limit", which is msgspec and numpy alone, or by "sluice"."""
        return Limit(**self._ask(model, request=str(request.body), seconds=seconds, decode=by))

    def answer(self, model: str, request: Request) -> list[list[float]]:
        outputs: list[list[float]] = self._ask(model, request=str(request.body), seconds=0)["answer"]
        return outputs

    def _ask(self, model: str, **order: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ask(json.dumps({"model": str(self._folder.model(model)), **order})))
        return answer


def check(name: str, request: Request, expected: Sequence[Sequence[float]]) -> bytes:
    """Sends it once and returns the reply; raises AssertionError unless that holds the expected outputs."""
    status, body = request.send()
    assert status == 200, f"{name}: {status} {body[:200]!r}"
    outputs = json.loads(body)["outputs"]
    for output, values in zip(outputs, expected, strict=False):
        close = len(output["data"]) == len(values) and all(map(_close, output["data"], values))
        assert close, f"{name}: {output} instead of {values}"
    return body


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-5)
