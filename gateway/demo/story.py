"""The demo, step by step."""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from rich.console import Console

from gateway.demo.score import Scores
from gateway.demo.screen import Screen
from gateway.demo.server import Caller, Server, request
from gateway.demo.training import CANCER, DIGITS, HELD_OUT, HeldOut, train

#: per cent of the traffic that version 2 gets, step by step
STEPS: Final = (0, 10, 50, 100)
#: seconds a step, and between two requests: slow enough to watch
STEP: Final = 4.0
PAUSE: Final = 0.002


def run(
    *,
    once: bool = False,
    http_port: int = 8000,
    grpc_port: int | Literal["off"] = "off",
    admin_port: int = 8002,
    folder: Path = Path(".sluice/demo"),
    step: float = STEP,
    console: Console | None = None,
) -> int:
    """Tells the story in `step` seconds a step; then serves on until Ctrl-C, unless `once`. Returns the exit code.

    Raises SluiceError, one line that says what is missing or in the way.
    """
    screen = Screen(console)
    screen.say("Training on scikit-learn's data, exporting by skl2onnx …")
    held_out = train(folder / "models")
    # splits of an earlier demo would be remembered
    shutil.rmtree(folder / "state", ignore_errors=True)
    cancer, digits = held_out[CANCER], held_out[DIGITS]
    screen.say(
        f"[bold]{CANCER}[/bold]: version 1 is a decision tree of one question, version 2 a logistic regression.\n"
        f"[bold]{DIGITS}[/bold]: handwritten digits, one version.\n"
        f"{HELD_OUT:.0%} of the rows were held out of the training; those are what is sent:"
        f" {len(cancer.rows)} and {len(digits.rows)}.\n"
    )
    with Server(folder, http_port, admin_port, grpc_port) as server:
        screen.say(f"Serving at {server.url}, metrics at {server.admin_url}/metrics, log in {folder}/gateway.log\n")
        _shift(screen, server, cancer, step)
        _once_through(screen, server, digits)
        _invite(screen, server, cancer)
        if not once:
            _serve_on(screen, server)
    return 0


def _shift(screen: Screen, server: Server, held_out: HeldOut, step: float) -> None:
    caller = Caller(server.http_port)
    samples = _forever(held_out)
    for share in STEPS:
        server.split(CANCER, {"1": 100 - share, "2": share})
        scores = Scores()
        with screen.step(f"{CANCER}: {share} % of the traffic to version 2", scores) as answered:
            deadline = time.monotonic() + step
            while time.monotonic() < deadline:
                row, truth = next(samples)
                version, found, seconds = caller.predict(CANCER, row)
                scores.add(version, seconds, found == truth)
                answered()
                time.sleep(PAUSE)
        screen.say("")
    caller.close()


def _once_through(screen: Screen, server: Server, held_out: HeldOut) -> None:
    caller = Caller(server.http_port)
    scores = Scores()
    with screen.step(f"{held_out.model}: every held-out row once", scores) as answered:
        for row, truth in zip(held_out.rows, held_out.classes, strict=True):
            version, found, seconds = caller.predict(held_out.model, row)
            scores.add(version, seconds, found == truth)
            answered()
    screen.say("")
    caller.close()


def _invite(screen: Screen, server: Server, held_out: HeldOut) -> None:
    body = json.dumps(request([round(value, 4) for value in held_out.rows[0]]), separators=(",", ":"))
    screen.say("Try it:\n")
    # as it is: without markup, and without breaks that would end up in the shell
    line = f"curl -s {server.url}/v2/models/{CANCER}/infer -d {shlex.quote(body)}"
    screen.console.print(line, markup=False, highlight=False, soft_wrap=True)
    screen.say(f"sluice split set {CANCER} 1=50 2=50 --config {server.config}\n")


def _serve_on(screen: Screen, server: Server) -> None:
    screen.say("Serving on. Ctrl-C ends it.")
    try:
        server.wait()
    except KeyboardInterrupt:
        screen.say("\nEnding …")


def _forever(held_out: HeldOut) -> Iterator[tuple[list[float], int]]:
    return itertools.cycle(zip(held_out.rows, held_out.classes, strict=True))
