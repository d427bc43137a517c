"""gRPC beside grpcio's own echo, on one core, interleaved; the load comes from another core.

`python -m loadtests.grpc [--quick] [--results NAME]` writes results/NAME.md and NAME.json.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench import TREE_SETTINGS, prepare
from loadtests.contenders import LIMITS, Folder, Sluice
from loadtests.load import Sample
from loadtests.models import row
from loadtests.process import LOAD_CORE, ROOT, Process, free_port
from loadtests.report import Figure, Report

SERVICE = "/inference.GRPCInferenceService"


@dataclass(frozen=True, slots=True)
class Call:
    """What is called, how often at the same time, and the least ratio of its rate to the echo's."""

    name: str
    ours: str
    raw: str
    connections: int
    streams: int
    required: float
    options: tuple[str, ...] = ()


CALLS = (
    Call("ModelInfer, T, 64 in flight", f"{SERVICE}/ModelInfer", "/raw/unary", 8, 8, 0.75),
    Call("ModelInfer, T, 1 in flight", f"{SERVICE}/ModelInfer", "/raw/unary", 1, 1, 0.75),
    Call("ModelStreamInfer, T, 16 streams", f"{SERVICE}/ModelStreamInfer", "/raw/stream", 16, 1, 0.6, ("--stream",)),
)


class Echo(Process):
    """grpcio's aio server without anything of ours."""

    def __init__(self, folder: Folder, reply: bytes) -> None:
        self.port = free_port()
        path = folder.scratch / f"reply-{self.port}.bin"
        path.write_bytes(reply)
        command = [sys.executable, str(LIMITS / "grpc_echo.py"), str(self.port), str(path)]
        super().__init__("grpc.aio echo", command, log=folder.scratch / "grpc-echo.log")

    def await_port(self) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        raise RuntimeError("the echo did not start")


def request(folder: Folder) -> Path:
    """The message: T's one row, raw."""
    from gateway import pb

    message = pb.message("ModelInferRequest")(model_name="T")
    array = row("T")
    message.inputs.add(name="X", datatype="FP32", shape=array.shape)
    message.raw_input_contents.append(array.tobytes())
    path = folder.scratch / "T.message"
    path.write_bytes(message.SerializeToString())
    return path


def reply(server: Sluice, message: Path) -> bytes:
    """Of one call by grpcio's own client, checked."""
    import grpc

    from gateway import pb

    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        body: bytes = channel.unary_unary(f"{SERVICE}/ModelInfer")(message.read_bytes(), timeout=10)
    found = pb.message("ModelInferResponse").FromString(body)
    assert found.model_name == "T"
    assert len(found.raw_output_contents) == 2
    return body


def apply(server: Process, port: int, path: str, message: Path, call: Call, seconds: float) -> Sample:
    """Raises RuntimeError if any call failed."""
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "loadtests.http2", f"127.0.0.1:{port}", path]
    many = ["--connections", str(call.connections), "--streams", str(call.streams), "--seconds", f"{seconds:g}"]
    before = server.cpu()
    done = subprocess.run(
        [*command, str(message), *many, *call.options], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    used = server.cpu() - before
    if done.returncode:
        raise RuntimeError(f"{server.name}: {done.stderr.strip().splitlines()[-1]}")
    told = json.loads(done.stdout)
    return Sample(told["replies"] / told["seconds"], told["p50"], told["p99"], used / told["replies"] * 1e6)


def measure(folder: Folder, report: Report, rounds: int, seconds: float) -> None:
    message = request(folder)
    with ExitStack() as stack:
        server = stack.enter_context(Sluice(folder, folder.path / "tree", TREE_SETTINGS))
        echo = stack.enter_context(Echo(folder, reply(server, message)))
        echo.await_port()
        for call in CALLS:
            contenders = ((server, server.grpc_port, call.ours), (echo, echo.port, call.raw))
            samples: dict[str, list[Sample]] = {contender[0].name: [] for contender in contenders}
            for contender, port, path in contenders:
                apply(contender, port, path, message, call, 0.5)
            for number in range(rounds):
                for contender, port, path in contenders:
                    samples[contender.name].append(apply(contender, port, path, message, call, seconds))
                told = ", ".join(f"{name} {s[-1].rate:,.0f}/s {s[-1].cpu:.0f} µs" for name, s in samples.items())
                print(f"{call.name}, round {number + 1}: {told}", file=sys.stderr)
            report.samples[call.name] = samples
            report.figures += ratios(call, samples[server.name], samples[echo.name])
        report.figures.append(Figure("memory of the worker, PSS", [server.memory()[0]], unit="MB"))


def ratios(call: Call, ours: Sequence[Sample], raw: Sequence[Sample]) -> list[Figure]:
    pairs = list(zip(ours, raw, strict=True))
    return [
        Figure(f"{call.name} / grpc.aio echo", [a.rate / b.rate for a, b in pairs], call.required),
        Figure("the same by CPU a request", [b.cpu / a.cpu for a, b in pairs]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.grpc", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few and short rounds: a look, no evidence")
    parser.add_argument("--results", default="grpc", help="name of the files in loadtests/results")
    arguments = parser.parse_args()
    report = Report("gRPC and grpcio's own echo")
    measure(prepare(), report, *((2, 1.0) if arguments.quick else (5, 2.0)))
    path = report.write(arguments.results)
    print(report.table(), f"\nwritten to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
