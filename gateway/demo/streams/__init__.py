"""`sluice demo streams`: the same rows as a table, as messages and as a file of a mainframe, scored where they are."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console

from gateway.client import Client
from gateway.core.errors import SluiceError, Unavailable
from gateway.demo.streams.flows import Claims, Flow, LentRows, Mainframe, Queue, Topic
from gateway.demo.streams.systems import SYSTEMS, Kafka, PostgreSQL, RabbitMQ, System
from gateway.demo.streams.watch import View, Watch
from gateway.demo.training import CANCER, train
from gateway.settings import find_token, load

__all__ = ["run"]

#: records of each stream
RECORDS: Final = 10_000
#: seconds that they may take, and that the process may take to start and to stop
LIMIT: Final = 240.0
START: Final = 60.0


def run(
    *,
    once: bool = False,
    port: int = 8012,
    folder: Path = Path(".sluice/demo-streams"),
    records: int = RECORDS,
    systems: Sequence[type[System]] = SYSTEMS,
    console: Console | None = None,
) -> int:
    """Until Ctrl-C, unless `once`. Returns the exit code. Raises SluiceError, one line that says what is in the way."""
    # without a terminal's width tables would be cut at 80 columns
    console = console or Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    folder = folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "streams").mkdir(parents=True)
    console.print("Training on scikit-learn's data, exporting by skl2onnx …")
    held_out = train(folder / "models")[CANCER]
    rows = list(itertools.islice(itertools.cycle(held_out.rows), records))
    with ExitStack() as stack:
        flows = _flows(stack, folder, systems, console)
        for flow in flows:
            flow.feed(rows)
            flow.write()
        console.print(
            f"{records:,} records for each of {len(flows)} streams, some of them broken: see {folder}/streams\n"
        )
        client = stack.enter_context(_process(folder, port))
        watch = Watch(console, flows, lambda: _views(client))
        watch.until(lambda views: _done(views, flows, records), LIMIT)
        _redrive(console, watch, client, flows[0], records)
        _invite(console, folder)
        if not once:
            _stay(console, watch)
    return 0


def _flows(stack: ExitStack, folder: Path, systems: Sequence[type[System]], console: Console) -> list[Flow]:
    """SQLite and files always, the others where they are installed."""
    flows: list[Flow] = [LentRows(folder), Mainframe(folder)]
    for kind in systems:
        if not kind.installed():
            sought = f" (looked for {kind.sought})" if kind.sought else ""
            console.print(f"{kind.name} is not installed here{sought}: left out")
            continue
        console.print(f"Starting {kind.name} …")
        system = stack.enter_context(kind())
        match system:
            case PostgreSQL():
                flows.append(Claims(folder, system))
            case RabbitMQ():
                flows.append(Queue(folder, system))
            case Kafka():
                flows.append(Topic(folder, system))
    return flows


@contextmanager
def _process(folder: Path, port: int) -> Iterator[Client]:
    """`sluice streams run`, as an operator would start it."""
    config = folder / "sluice.yaml"
    state = folder / "state"
    given = {"models": folder / "models", "state": state, "streams_port": port, "streams": [str(folder / "streams")]}
    config.write_text(yaml.safe_dump({key: str(v) if isinstance(v, Path) else v for key, v in given.items()}))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    command = [sys.executable, "-m", "gateway.cli", "streams", "run", "--config", str(config)]
    log = folder / "streams.log"
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, process_group=0
        )
    try:
        yield _client(process, config, port, log)
    finally:
        process.terminate()
        try:
            process.wait(START)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _client(process: subprocess.Popen[bytes], config: Path, port: int, log: Path) -> Client:
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        try:
            client = Client(f"http://127.0.0.1:{port}", find_token(load(str(config), {})))
            client.send("GET", "/readyz")
        except SluiceError:
            time.sleep(0.1)
        else:
            return client
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    raise Unavailable(f"sluice streams run does not start: {lines[-1] if lines else 'it said nothing'}; see {log}")


def _views(client: Client) -> Sequence[View]:
    views: Sequence[View] = client.call("GET", "/admin/v1/streams")["streams"]
    return views


def _done(views: Sequence[View], flows: Sequence[Flow], records: int) -> bool:
    names = {flow.name for flow in flows}
    return all(view["records"]["acknowledged"] >= records for view in views if view["name"] in names)


def _redrive(console: Console, watch: Watch, client: Client, flow: Flow, records: int) -> None:
    """Dead letters of the table: rows that lack a value, which is then given to them."""
    if not isinstance(flow, LentRows):
        raise AssertionError("the first flow is that of rows")
    before = flow.scored()
    mended = flow.mend()
    console.print(f"\n{records - before} rows of the table lacked a value, and became dead letters.")
    console.print(f"Given to {mended} of them; put back by: sluice streams redrive {flow.name}")
    answer: Any = client.call("POST", f"/admin/v1/streams/{flow.name}/redrive", {})
    console.print(f"{answer['records']} dead letters put back\n")
    watch.until(lambda views: flow.scored() == records, LIMIT)
    console.print(f"\nAll {records:,} rows of the table are scored.")


def _invite(console: Console, folder: Path) -> None:
    config = folder / "sluice.yaml"
    console.print("\nTry it:\n")
    for line in (
        f"sluice streams show mainframe --config {config}",
        f"sluice streams validate {folder}/streams/mainframe.yaml --config {config}",
        f"sluice streams dry-run {folder}/streams/mainframe.yaml --config {config}",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _stay(console: Console, watch: Watch) -> None:
    console.print("\nRunning on. Ctrl-C ends it.")
    try:
        watch.until(lambda views: False, float("inf"))
    except KeyboardInterrupt:
        console.print("\nEnding …")
