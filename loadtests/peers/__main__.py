"""`make bench-peers`: Sluice beside a hand-written FastAPI endpoint and MLServer, with T on 64 connections.

`python -m loadtests.peers [--quick] [--results NAME]`. Each peer gets an environment of its own in .sluice/peers,
made on the first run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from loadtests.bench import TREE_SETTINGS, Bench, prepare
from loadtests.contenders import Folder, Runtime, Sluice, check
from loadtests.load import Request
from loadtests.process import ROOT, Process, free_port
from loadtests.report import Figure, Report

HERE = Path(__file__).parent
ENVIRONMENTS = ROOT / ".sluice" / "peers"
CONNECTIONS = 64


def environment(name: str) -> Path:
    """The python of the peer's environment, which is made where it is not there; versions go into the report."""
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"installing {name} into {folder} …", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        requirements = str(HERE / f"{name}.txt")
        # away from the repository, whose own requirements pip would otherwise weigh as well
        alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [str(python), "-m", "pip", "install", "-q", "-r", requirements]
        subprocess.run(command, check=True, cwd=folder, env=alone)
        (folder / "complete").touch()
    return python


def fastapi(folder: Folder) -> tuple[Process, str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(environment("fastapi")), str(HERE / "fastapi_app.py"), str(port), str(folder.model("T"))]
    return Process("FastAPI", command, ready=f"{url}/ready", log=folder.scratch / "fastapi.log"), url


def mlserver(folder: Folder) -> tuple[Process, str]:
    """One process without its pool of workers, which is the fastest that it has on one core."""
    ports = [free_port() for _ in range(3)]
    place = folder.scratch / "mlserver"
    place.mkdir(exist_ok=True)
    settings = {
        "host": "127.0.0.1",
        "http_port": ports[0],
        "grpc_port": ports[1],
        "metrics_port": ports[2],
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": "T",
        "implementation": "mlserver_runtime.OnnxModel",
        "parameters": {"uri": str(folder.model("T")), "version": "1"},
    }
    (place / "settings.json").write_text(json.dumps(settings))
    (place / "model-settings.json").write_text(json.dumps(model))
    command = [str(environment("mlserver").parent / "mlserver"), "start", str(place)]
    url = f"http://127.0.0.1:{ports[0]}"
    process = Process(
        "MLServer",
        command,
        ready=f"{url}/v2/models/T/ready",
        env={"PYTHONPATH": str(HERE)},
        log=folder.scratch / "mlserver.log",
    )
    return process, url


def compare(folder: Folder, report: Report, *, rounds: int, seconds: int) -> None:
    bench = Bench(folder, report, rounds=rounds, seconds=seconds)
    (hand, hand_url), (ml, ml_url) = fastapi(folder), mlserver(folder)
    with ExitStack() as stack:
        runtime = stack.enter_context(Runtime(folder))
        server = stack.enter_context(Sluice(folder, folder.path / "tree", TREE_SETTINGS))
        stack.enter_context(hand)
        stack.enter_context(ml)
        body = folder.request("", "T").body
        contenders: dict[str, tuple[Process, Request]] = {
            "Sluice": (server, Request(server.infer("T"), body)),
            "FastAPI, inline": (hand, Request(f"{hand_url}/inline", body)),
            "FastAPI, thread pool": (hand, Request(f"{hand_url}/pool", body)),
            "MLServer": (ml, Request(f"{ml_url}/v2/models/T/infer", body)),
        }
        for name, (_, request) in contenders.items():
            check(name, request, runtime.answer("T", request))
        samples = bench.interleave(f"T, {CONNECTIONS} connections", contenders, CONNECTIONS)
        ours = [sample.rate for sample in samples["Sluice"]]
        for name, theirs in samples.items():
            if name != "Sluice":
                ratios = [a / b.rate for a, b in zip(ours, theirs, strict=True)]
                report.figures.append(Figure(f"requests/s: Sluice / {name}", ratios))
        for each in (server, hand, ml):
            report.figures.append(Figure(f"memory of {each.name} after load, PSS", [each.memory()[0]], unit="MB"))
            report.figures.append(Figure(f"start of {each.name}", [each.startup], unit="s"))
    report.notes += [f"{name}: {_versions(name)}" for name in ("fastapi", "mlserver")]


def _versions(name: str) -> str:
    command = [str(environment(name)), "-m", "pip", "freeze"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    wanted = ("fastapi", "uvicorn", "pydantic", "mlserver", "onnxruntime", "numpy", "orjson")
    return ", ".join(line.replace("==", " ") for line in lines if line.partition("==")[0].lower() in wanted)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few and short rounds: a look, no evidence")
    parser.add_argument("--results", default="peers", help="name of the files in loadtests/results")
    given = parser.parse_args(arguments)
    for name in ("fastapi", "mlserver"):
        environment(name)
    folder = prepare()
    report = Report("Sluice and its peers, gradient boosting over 30 features, one core")
    rounds, seconds = (2, 1) if given.quick else (5, 3)
    compare(folder, report, rounds=rounds, seconds=seconds)
    path = report.write(given.results)
    print(report.table(), f"\nwritten to {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
