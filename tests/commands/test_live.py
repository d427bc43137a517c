"""Every command against a gateway in a process of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from gateway.cli import run

ROOT = Path(__file__).parents[2]
KINDS = {
    "text": (TensorProto.STRING, ["n", 1]),
    "count": (TensorProto.INT64, ["n", 1]),
    "half": (TensorProto.FLOAT16, ["n", 2]),
    "brain": (TensorProto.BFLOAT16, ["n", 1]),
}


def save(graph: onnx.GraphProto, folder: Path) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def times(folder: Path, factor: float) -> None:
    """y = factor * x, FP32 [n, 2]."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "times",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])],
    )
    save(graph, folder)


def echo(folder: Path, kinds: dict[str, Any]) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds],
        "echo",
        [helper.make_tensor_value_info(name, *kind) for name, kind in kinds.items()],
        [helper.make_tensor_value_info(f"{name}_out", *kind) for name, kind in kinds.items()],
    )
    save(graph, folder)


class Gateway:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes]
        ports = []
        for _ in range(2):
            with socket.create_server(("127.0.0.1", 0)) as free:
                ports.append(free.getsockname()[1])
        (folder / "sluice.yaml").write_text(
            f"host: 127.0.0.1\nhttp_port: {ports[0]}\nadmin_port: {ports[1]}\ngrpc_port: off\n"
            "control_mode: explicit\nload: [m, echo]\n"
        )
        self.admin_port = ports[1]
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("SLUICE_")}
        self.environment["PYTHONPATH"] = str(ROOT)
        self.command = [sys.executable, "-m", "gateway.cli", "serve"]

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, env=self.environment, stderr=log)
        until = time.monotonic() + 20
        while run(["models", "list"]) or run(["infer", "m", "--input", "rows.csv"]):
            with pytest.raises(subprocess.TimeoutExpired):
                self.process.wait(0.05)
            assert time.monotonic() < until, (self.folder / "log").read_text()

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    for version in (1, 2, 3):
        times(folder / "models" / "m" / str(version), version)
    times(folder / "models" / "spare" / "1", 5)
    echo(folder / "models" / "echo" / "1", {name: kind for name, kind in KINDS.items() if name != "brain"})
    echo(folder / "models" / "brain" / "1", {"brain": KINDS["brain"]})
    (folder / "rows.csv").write_text("a,b\n1,2\n3,4.5\n")
    return folder


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Gateway]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        gateway = Gateway(folder)
        gateway.start()
    yield gateway
    assert gateway.end(signal.SIGTERM) == 0
    assert "Traceback" not in (folder / "log").read_text()


Sluice = Callable[..., str]


@pytest.fixture
def sluice(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> Sluice:
    """Runs a line; returns what it printed, on both streams, with single spaces."""
    capsys.readouterr()

    def sluice(line: str, code: int = 0) -> str:
        assert run(line.split()) == code
        return re.sub(r" +", " ", "".join(capsys.readouterr()))

    return sluice


def test_models_are_listed_shown_loaded_and_unloaded(sluice: Sluice) -> None:
    assert "m 3 READY" in sluice("models list")
    assert "spare not loaded" in sluice("models list")
    assert "spare 1 READY" in sluice("models load spare")
    assert "input x FP32 [-1, 2]" in sluice("models show spare")
    assert "unloaded spare (revision" in sluice("models unload spare")
    assert "UNAVAILABLE unloaded" in re.sub(r" +", " ", sluice("models show spare"))
    assert "failed to load 'nope'" in sluice("models load nope", 1)
    Path("config.json").write_text('{"version_policy": {"all": {}}}')
    sluice("models load m --model-config config.json")
    assert "m 1 READY" in sluice("models list")
    sluice("models load m")
    assert "not JSON" in sluice("models load m --model-config rows.csv", 2)
    assert json.loads(sluice("models show m --json"))["name"] == "m"


def test_splits_are_set_shown_and_cleared(sluice: Sluice) -> None:
    assert "m 1 90 90% api" in sluice("split set m 1=90 2=10")
    assert "m 2 10 10% api" in sluice("split show")
    assert "m 2 READY 10%" in sluice("models list")
    revision = json.loads(sluice("split show m --json"))["revision"]
    assert f"at revision {revision}, not 0" in sluice("split set m 1=1 --revision 0", 1)
    assert "m 1 1 25% api" in sluice(f"split set m 1=1 2=3 --revision {revision} --salt x")
    assert "no version '9', there are: 1, 2, 3" in sluice("split set m 1=1 9=1", 1)
    assert "m has no split" in sluice("split clear m")
    assert "no split of 'm' was set" in sluice("split clear m", 1)
    assert "no splits" in sluice("split show")


def test_labels_are_set_shown_and_removed(sluice: Sluice) -> None:
    assert "m canary 2" in sluice("labels set m stable=1 canary=2")
    assert "m stable 1" in sluice("labels show")
    assert "version 2" in sluice("infer m --input rows.csv --version canary")
    assert "canary" not in sluice("labels remove m canary")
    assert "no labels" in sluice("labels clear m")
    assert "no labels" in sluice("labels show m")


def test_the_trail(sluice: Sluice) -> None:
    sluice("labels set m a=1")
    sluice("labels clear m")
    first, second, *_ = sluice("audit --limit 2").splitlines()[1:]
    assert "labels.clear m" in first
    assert "labels.set m" in second
    assert '{"labels": {"a": "1"}}' in second
    assert len(json.loads(sluice("audit --json --limit 1"))["entries"]) == 1


def test_rows_are_answered(sluice: Sluice) -> None:
    assert sluice("infer m --input rows.csv --version 3").startswith("row y[0] y[1]\n 0 3 6\n 1 9 13.5\n")
    keyed = {sluice("infer m --input rows.csv --key a --json") for _ in range(3)}
    assert len(keyed) == 1
    assert json.loads(keyed.pop())["outputs"][0]["data"] == [3, 6, 9, 13.5]
    np.save("rows.npy", np.array([[1.0, 2.0]]))
    assert "version 3," in sluice("infer m --input rows.npy --version 3")
    assert sluice("infer m --input rows.csv --batch-size 1").count("version 3") == 2
    assert "\n 0 6 3\n" in sluice("infer m --input rows.csv --columns b,a")
    assert "no column 'z'" in sluice("infer m --input rows.csv --columns z", 1)
    assert "Request for unknown model" in sluice("infer nope --input rows.csv", 1)
    assert "is not found" in sluice("infer m --input rows.csv --version 77", 1)


def test_every_kind_of_tensor_goes_and_comes(sluice: Sluice) -> None:
    Path("kinds.csv").write_text("text,count,half.0,half.1\nä,-7,0.5,1.5\n")
    outputs = json.loads(sluice("infer echo --input kinds.csv --json"))["outputs"]
    assert {o["name"]: o["data"] for o in outputs} == {
        "text_out": ["ä"], "count_out": [-7], "half_out": [0.5, 1.5]
    }  # fmt: skip
    sluice("models load brain")
    Path("brain.csv").write_text("brain\n1.5\n")
    assert json.loads(sluice("infer brain --input brain.csv --json"))["outputs"][0]["data"] == [1.5]


def test_a_token_of_this_machine_is_not_shown_to_another(sluice: Sluice, gateway: Gateway) -> None:
    here = f"http://127.0.0.1:{gateway.admin_port}"
    assert "m 3" in sluice(f"models list --admin-url {here}")
    assert "wants another admin token" in sluice(f"models list --admin-url {here} --token bad", 1)
    # the admin port is on 127.0.0.1 only: nobody is there to be shown anything
    assert "nothing listens there" in sluice(f"models list --admin-url http://127.0.0.2:{gateway.admin_port}", 1)


def test_a_second_gateway_on_the_folder_says_so(sluice: Sluice, gateway: Gateway) -> None:
    other = [*gateway.command, "--http-port", "0", "--admin-port", "0"]
    done = subprocess.run(
        other, cwd=gateway.folder, env=gateway.environment, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        f"sluice: state folder '.sluice' is in use by another gateway (process {gateway.process.pid})"
    )


def test_what_was_set_is_there_after_a_kill(sluice: Sluice, gateway: Gateway) -> None:
    sluice("models load spare")
    sluice("split set m 1=1")
    sluice("labels set m canary=2")
    gateway.end(signal.SIGKILL)
    gateway.start()
    assert "m 1 1 100% api" in sluice("split show m")
    assert "m canary 2" in sluice("labels show m")
    assert "version 1," in sluice("infer m --input rows.csv")
    assert "version 2," in sluice("infer m --input rows.csv --version canary")
    assert "spare 1 READY" in sluice("models list")
    sluice("split clear m")
    sluice("labels clear m")
    sluice("models unload spare")
