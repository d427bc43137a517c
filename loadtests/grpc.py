"""gRPC beside grpcio's own echo, on one core, interleaved; the load, Debian's h2load, comes from another core.

`python -m loadtests.grpc [--quick] [--results NAME]` writes results/NAME.md and NAME.json.
"""

from __future__ import annotations

import argparse
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from loadtests.bench import TREE_SETTINGS, prepare
from loadtests.contenders import LIMITS, Folder, Sluice
from loadtests.load import Sample
from loadtests.models import row
from loadtests.process import LOAD_CORE, ROOT, Process, free_port
from loadtests.report import Figure, Report

SERVICE = "/inference.GRPCInferenceService"
HEADERS = ("-H", "content-type: application/grpc", "-H", "te: trailers")
#: messages of one stream, which the load has ready and sends as fast as they are read
PER_CALL = 500


@dataclass(frozen=True, slots=True)
class Call:
    """What is called, how often at the same time, and the least ratio of its rate to the echo's."""

    name: str
    ours: str
    raw: str
    connections: int
    streams: int
    required: float
    streamed: bool = False


CALLS = (
    Call("ModelInfer, T, 64 in flight", f"{SERVICE}/ModelInfer", "/raw/unary", 8, 8, 0.75),
    Call("ModelInfer, T, 1 in flight", f"{SERVICE}/ModelInfer", "/raw/unary", 1, 1, 0.75),
    Call("ModelStreamInfer, T, 16 streams", f"{SERVICE}/ModelStreamInfer", "/raw/stream", 16, 1, 0.6, streamed=True),
)


class Echo(Process):
    """grpcio's aio server without anything of ours."""

    def __init__(self, folder: Folder, alone: bytes, streamed: bytes) -> None:
        self.port = free_port()
        paths = [folder.scratch / f"{name}-{self.port}.bin" for name in ("alone", "streamed")]
        for path, reply in zip(paths, (alone, streamed), strict=True):
            path.write_bytes(reply)
        command = [sys.executable, str(LIMITS / "grpc_echo.py"), str(self.port), *map(str, paths)]
        super().__init__("grpc.aio echo", command, log=folder.scratch / "grpc-echo.log")

    def await_port(self) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        raise RuntimeError("the echo did not start")


class Load:
    """What is sent: files of one message and of `PER_CALL` of them; `reply` is the length of the good answer."""

    def __init__(self, folder: Folder) -> None:
        from gateway import pb

        message = pb.message("ModelInferRequest")(model_name="T")
        array = row("T")
        message.inputs.add(name="X", datatype="FP32", shape=array.shape)
        message.raw_input_contents.append(array.tobytes())
        self.folder = folder
        self.body: bytes = message.SerializeToString()
        framed = b"\0" + struct.pack(">I", len(self.body)) + self.body
        self.message = folder.scratch / "T.message"
        self.message.write_bytes(framed)
        self.messages = folder.scratch / "T.messages"
        self.messages.write_bytes(framed * PER_CALL)
        self.reply = 0
        #: messages a second, the last time
        self.rate = 5000.0

    def calls(self, seconds: float) -> int:
        """Streams, of which 16 at a time take about so long."""
        return 16 * max(1, round(self.rate * seconds / PER_CALL / 16))


def replies(server: Sluice, message: bytes) -> tuple[bytes, bytes]:
    """What a call and a stream answer to grpcio's own client, checked."""
    import grpc

    from gateway import pb

    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        alone: bytes = channel.unary_unary(f"{SERVICE}/ModelInfer")(message, timeout=10)
        (streamed,) = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")(iter([message]), timeout=10)
    found = pb.message("ModelInferResponse").FromString(alone)
    assert found.model_name == "T"
    assert len(found.raw_output_contents) == 2
    assert not pb.message("ModelStreamInferResponse").FromString(streamed).error_message
    return alone, streamed


def apply(server: Process, port: int, path: str, call: Call, load: Load, seconds: float) -> Sample:
    """Raises RuntimeError if any call failed: the bytes of all replies must be those of so many good ones."""
    body, many = (load.messages, ("-n", str(load.calls(seconds)))) if call.streamed else (load.message, ())
    log = load.folder.scratch / "h2load.log"
    log.unlink(missing_ok=True)
    command = ["taskset", "-c", str(LOAD_CORE), "h2load", "-t1", f"-c{call.connections}", f"-m{call.streams}"]
    timed = ("-D", f"{seconds:g}", "--log-file", str(log))
    before = server.cpu()
    output = subprocess.run(
        [*command, *HEADERS, *(many or timed), "-d", str(body), f"http://127.0.0.1:{port}{path}"],
        cwd=ROOT, capture_output=True, text=True, timeout=90, check=True,
    ).stdout  # fmt: skip
    used = server.cpu() - before
    took = _found(r"finished in ([0-9.]+)(m?s)", output, {"s": 1.0, "ms": 1e-3})
    replies, odd = divmod(int(_found(r"headers \(.*\), .*\((\d+)\) data", output)), load.reply + 5)
    ended = int(_found(r"(\d+) done", output)) * (PER_CALL if call.streamed else 1)
    # calls that are in flight when the time is over have got their reply, or not
    if odd or not ended <= replies <= ended + call.connections * call.streams:
        raise RuntimeError(f"{server.name}: {ended} calls ended, with the bytes of {replies} replies")
    times = [] if call.streamed else sorted(int(line.split()[2]) for line in log.read_text().splitlines())
    p50, p99 = (times[len(times) * part // 100] / 1e3 if times else 0.0 for part in (50, 99))
    load.rate = replies / took
    return Sample(load.rate, p50, p99, used / replies * 1e6)


def _found(pattern: str, output: str, units: dict[str, float] | None = None) -> float:
    match = re.search(pattern, output)
    if match is None:
        raise RuntimeError(f"h2load said: {output}")
    return float(match[1]) * (units[match[2]] if units else 1.0)


def measure(folder: Folder, report: Report, rounds: int, seconds: float) -> None:
    load = Load(folder)
    with ExitStack() as stack:
        server = stack.enter_context(Sluice(folder, folder.path / "tree", TREE_SETTINGS))
        expected = replies(server, load.body)
        echo = stack.enter_context(Echo(folder, *expected))
        echo.await_port()
        for call in CALLS:
            contenders = ((server, server.grpc_port, call.ours), (echo, echo.port, call.raw))
            samples: dict[str, list[Sample]] = {contender[0].name: [] for contender in contenders}
            load.reply = len(expected[call.streamed])
            for contender, port, path in contenders:
                apply(contender, port, path, call, load, 1.0)
            for number in range(rounds):
                for contender, port, path in contenders:
                    samples[contender.name].append(apply(contender, port, path, call, load, seconds))
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
