from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from servers.server import free_port

from gateway.demo.streams import run
from gateway.demo.streams.systems import SYSTEMS, PostgreSQL


def told(folder: Path, *systems: type) -> str:
    output = io.StringIO()
    console = Console(file=output, width=140, highlight=False)
    assert run(once=True, port=free_port(), folder=folder, records=1000, systems=systems, console=console) == 0
    return output.getvalue()


def test_the_story_with_sqlite_and_files(tmp_path: Path) -> None:
    text = told(tmp_path)
    assert re.search(r"│ table +│ SQLite rows → the same rows +│ running │ +998 │", text)
    assert re.search(r"│ mainframe +│ EBCDIC file → EBCDIC file +│ running │ +998 │ .*exactly once", text)
    # what is scored does not wait, neither at first nor after the redrive
    assert len(re.findall(r"│ table .*│ +0 │ +2 │", text)) == 2
    assert "2 rows of the table lacked a value, and became dead letters." in text
    assert "2 dead letters put back" in text
    assert "All 1,000 rows of the table are scored." in text
    assert len((tmp_path / "outbox" / "patients.out").read_bytes()) == 998 * 195
    assert "Traceback" not in (tmp_path / "streams.log").read_text()


def test_with_a_server_that_is_installed(tmp_path: Path) -> None:
    if not PostgreSQL.installed():
        return
    text = told(tmp_path, PostgreSQL)
    assert re.search(r"│ postgresql +│ PostgreSQL rows → the same rows +│ running │ +998 │", text)


def test_what_is_not_installed_is_left_out(tmp_path: Path) -> None:
    class Missing(SYSTEMS[0]):  # type: ignore[misc, name-defined]
        name = "nothing"

        @staticmethod
        def installed() -> bool:
            return False

    assert "nothing is not installed here: left out" in told(tmp_path, Missing)


def test_ended_by_sigterm_it_leaves_nothing_behind(tmp_path: Path) -> None:
    code = (
        "import functools, sys; import gateway.demo.streams as demo; from gateway.cli import main;"
        "demo.run = functools.partial(demo.run, systems=());"
        f"sys.argv[1:] = ['demo', 'streams', '--port', '{free_port()}', '--records', '1000']; main()"
    )
    command, environment = [sys.executable, "-c", code], os.environ | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        assert any(line.startswith("Running on") for line in demo.stdout)
        config = tmp_path / ".sluice" / "demo-streams" / "sluice.yaml"
        (child,) = _children(str(config))
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(30) == 0
    assert _children(str(config)) == []
    assert not Path("/proc", child).exists()


def _children(argument: str) -> list[str]:
    """The processes that were started with it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if argument in path.read_bytes().decode(errors="replace").split("\0"):
                found.append(path.parent.name)
        except OSError:
            continue
    return found
