"""curl, as people type it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gateways import Server

ROWS = np.array([[1, 2, 3, 4], [-1, 0.5, 0, 8]], np.float32)
INFER = "/v2/models/affine/versions/2/infer"
TYPE = ("-H", "Content-Type: application/json")


@dataclass(frozen=True)
class Answer:
    status: str
    http: str
    #: how many connections were opened for the last of the transfers
    connects: str
    head: str
    body: bytes
    #: what `-v` tells
    talk: str

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str:
        fields = dict(line.lower().split(": ", 1) for line in self.head.splitlines() if ": " in line)
        return fields.get(name, "")


@pytest.fixture
def curl(server: Server, tmp_path: Path) -> Any:
    def call(path: str, *options: str, stdin: bytes = b"", urls: tuple[str, ...] = ()) -> Answer:
        body, head = tmp_path / "body", tmp_path / "head"
        outputs = [word for url in urls for word in ("-o", str(tmp_path / "other"), server.rest + url)]
        written = "%{http_code} %{http_version} %{num_connects}\n"
        command = ["curl", "-sSv", "--max-time", "60", "-D", str(head), "-w", written, *options, *outputs]
        done = subprocess.run([*command, "-o", str(body), server.rest + path], input=stdin, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        figures = done.stdout.decode().splitlines()[-1].split()
        content = body.read_bytes() if body.exists() else b""
        return Answer(*figures, head.read_text(), content, done.stderr.decode(errors="replace"))

    return call


def document(array: Any, **fields: Any) -> str:
    tensor = {"name": "x", "shape": list(array.shape), "datatype": "FP32", "data": array.ravel().tolist()}
    return json.dumps({"inputs": [tensor], **fields})


def values(answer: Answer) -> list[Any]:
    assert answer.status == "200", answer.body
    (output,) = answer.document["outputs"]
    found: list[Any] = output["data"]
    return found


@pytest.mark.parametrize("kind", [TYPE, ()], ids=["named", "as curl names it"])
def test_json(curl: Any, kind: tuple[str, ...]) -> None:
    """Without a Content-Type curl says that it is a form, as examples in the wild do."""
    answer = curl(INFER, *kind, "-d", document(ROWS, id="7"))
    assert values(answer) == (3 * ROWS).ravel().tolist()
    assert answer.document["id"] == "7"
    assert answer.document["model_version"] == "2"
    assert answer.header("content-type") == "application/json"


def test_calls_beside_inference(curl: Any) -> None:
    assert curl("/v2/health/live").document == {"live": True}
    assert curl("/v2/health/ready").document == {"ready": True}
    assert curl("/v2").document["name"] == "sluice"
    assert curl("/v2/models/affine").document["name"] == "affine"
    assert curl("/v2/models/affine/ready").document == {"name": "affine", "ready": True}
    assert curl("/v2/repository/index", "-X", "POST").status == "200"
    head = curl("/v2/health/ready", "-I")
    assert (head.status, head.header("content-length") != "") == ("200", True)


def test_binary(curl: Any) -> None:
    tensor = {
        "name": "x", "shape": [2, 4], "datatype": "FP32", "parameters": {"binary_data_size": ROWS.nbytes},
    }  # fmt: skip
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    length = ("-H", f"Inference-Header-Content-Length: {len(text)}")
    answer = curl(INFER, *length, "--data-binary", "@-", stdin=text + ROWS.tobytes())
    assert answer.status == "200"
    assert answer.header("content-type") == "application/octet-stream"
    at = int(answer.header("inference-header-content-length"))
    assert answer.body[at:] == (3 * ROWS).tobytes()
    assert json.loads(answer.body[:at])["outputs"][0]["parameters"] == {"binary_data_size": ROWS.nbytes}


def test_raw(curl: Any) -> None:
    row = ROWS[0]
    answer = curl(INFER, "-H", "Inference-Header-Content-Length: 0", "--data-binary", "@-", stdin=row.tobytes())
    assert answer.body.endswith((3 * row).tobytes())
    answer = curl("/v2/models/text/infer", "-H", "Inference-Header-Content-Length: 0", "--data-binary", "what I say")
    assert answer.body.endswith(b"\n\x00\x00\x00what I say")


def test_http_2_is_not_spoken_but_answered(curl: Any) -> None:
    """h2c: curl asks for an upgrade, which a server may ignore."""
    for options in ((), (*TYPE, "-d", document(ROWS))):
        answer = curl(INFER if options else "/v2/health/ready", "--http2", *options)
        assert "Upgrade: h2c" in answer.talk
        assert (answer.status, answer.http) == ("200", "1.1")
    both = curl("/v2/health/live", "--http2", urls=("/v2/health/ready", "/v2"))
    assert both.document == {"live": True}


def test_http_1_0(curl: Any) -> None:
    assert values(curl(INFER, "-0", *TYPE, "-d", document(ROWS))) == (3 * ROWS).ravel().tolist()


@pytest.mark.parametrize("binary", [True, False])
def test_a_large_body_is_announced_and_waited_for(curl: Any, binary: bool) -> None:
    """Over 1 MB curl sends `Expect: 100-continue`, and waits for a second where nobody answers it."""
    image = np.arange(3 * 300 * 300, dtype=np.float32).reshape(1, 3, 300, 300)
    if binary:
        body, head = image.tobytes(), ("-H", "Inference-Header-Content-Length: 0")
    else:
        body, head = document(image).encode(), TYPE
    assert len(body) > 1 << 20
    answer = curl("/v2/models/image/infer", *head, "--data-binary", "@-", stdin=body)
    assert "Expect: 100-continue" in answer.talk
    assert "HTTP/1.1 100 Continue" in answer.talk
    assert answer.status == "200"
    if binary:
        assert answer.body.endswith(image.tobytes())
    else:
        assert values(answer) == image.ravel().tolist()


def test_a_body_in_chunks(curl: Any) -> None:
    chunked = (*TYPE, "-H", "Transfer-Encoding: chunked")
    answer = curl(INFER, *chunked, "--data-binary", "@-", stdin=document(ROWS).encode())
    assert "content-length" not in answer.talk.lower().partition("< http/1.1")[0]
    assert values(answer) == (3 * ROWS).ravel().tolist()


def test_compressed(curl: Any) -> None:
    many = np.zeros((500, 4), np.float32)
    answer = curl(INFER, "--compressed", *TYPE, "-d", document(many))
    assert answer.header("content-encoding") in ("gzip", "deflate")
    assert int(answer.header("content-length")) < len(answer.body)
    assert values(answer) == [0.0] * 2000


def test_a_connection_is_kept(curl: Any) -> None:
    answer = curl(INFER, *TYPE, "-d", document(ROWS), urls=(INFER, INFER))
    assert answer.connects == "0"
    assert values(answer) == (3 * ROWS).ravel().tolist()


@pytest.mark.parametrize(
    ("path", "options", "status", "message"),
    [
        ("/v2/models/none/infer", (*TYPE, "-d", document(ROWS)), "404", "Request for unknown model: 'none'"),
        (INFER, (*TYPE, "-d", "{"), "400", "failed to parse the request JSON"),
        (INFER, (*TYPE, "-d", ""), "400", "failed to parse the request JSON"),
        (INFER, (*TYPE, "-d", '{"inputs": []}'), "400", "expected 1 inputs but got 0"),
        (INFER, (), "405", ""),
        ("/v2/nothing", (), "404", ""),
        ("/v2/health/live", ("-X", "DELETE"), "405", ""),
    ],
)
def test_errors(curl: Any, path: str, options: tuple[str, ...], status: str, message: str) -> None:
    answer = curl(path, *options)
    assert answer.status == status
    assert message in answer.document["error"]
